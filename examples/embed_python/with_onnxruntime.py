"""The same app without aetool: each graph stands alone, and its metadata tells what to feed it.

python examples/embed_python/with_onnxruntime.py ROWS.csv
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

DETECTOR = Path(__file__).parents[2] / "exported" / "breast-cancer" / "detector.onnx"


def main(path: str) -> None:
    """Print row number, score and verdict of every row."""
    session = onnxruntime.InferenceSession(DETECTOR, providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["feature_names"])
    with Path(path).open(newline="", encoding="utf-8") as stream:
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(stream)]
    # float32 in raw units, (rows, features): scaling and threshold are inside.
    scores, verdicts = session.run(["score", "is_anomaly"], {"features": np.array(rows, dtype=np.float32)})
    for i, (score, is_anomaly) in enumerate(zip(scores, verdicts, strict=True), 1):
        print(i, f"{score:.6g}", "anomaly" if is_anomaly else "normal")


if __name__ == "__main__":
    main(sys.argv[1])
