"""More precisions for a bundle, made by hand."""

import json

import numpy as np

from aetool.bundle.files import sha256


def add_precision(bundle, precision, *, threshold_factor=1.0, figures=None):
    """Copies of the fp32 graphs under another name; with another threshold they decide otherwise."""
    import onnx

    manifest = json.loads((bundle / "manifest.json").read_text())
    fp32 = manifest["variants"]["fp32"]
    threshold = float(np.float32(fp32["threshold"] * threshold_factor))
    files = {}
    for graph, name in fp32["files"].items():
        model = onnx.load(bundle / name)
        for entry in model.metadata_props:
            if entry.key == "threshold":
                entry.value = repr(threshold)
        for weight in model.graph.initializer:
            if weight.name == "threshold":
                weight.CopyFrom(
                    onnx.numpy_helper.from_array(np.full(list(weight.dims), threshold, np.float32), "threshold")
                )
        files[graph] = f"{precision}/{name}"
        content = model.SerializeToString()
        (bundle / precision).mkdir(exist_ok=True)
        (bundle / files[graph]).write_bytes(content)
        manifest["files"][files[graph]] = {"sha256": sha256(content), "size": len(content)}
    manifest["variants"][precision] = {"files": files, "threshold": threshold, "figures": figures or {}}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle
