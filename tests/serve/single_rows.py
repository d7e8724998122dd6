"""Requests of one row each, for the clients that put load on a server."""

import json

from aetool.bench._http_load import address_of, request_bytes


def requests_for(server, rows, output="score", model="cancer"):
    """One request a row, as bytes, its answer as bytes too."""
    made = []
    for row in rows:
        tensor = {"name": "features", "datatype": "FP32", "shape": [1, row.size]}
        outputs = [{"name": output, "parameters": {"binary_data": True}}]
        described = {"inputs": [{**tensor, "parameters": {"binary_data_size": row.nbytes}}], "outputs": outputs}
        text = json.dumps(described).encode()
        path = f"/v2/models/{model}/infer"
        made.append(
            request_bytes(address_of(server.url), "POST", path, text + row.tobytes(), json_length=len(text))
        )
    return made
