"""ORT format for the reduced onnxruntime of phones: each graph as .ort, and the operators a build needs."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import MANIFEST
from aetool.checks.parity import EXACT, compare_graph
from aetool.deploy._child import in_child, run_graphs
from aetool.deploy._deployment import Deployment, admitted, asset, in_order
from aetool.errors import VerificationError

CONFIG = "required_operators.config"


def mobile(bundle: Bundle) -> Deployment:
    """Convert each graph to ORT format with onnxruntime's own converter, and run it with onnxruntime here.

    Raises:
        BundleError: a graph is not let in.
        ExportError: the converter refuses a graph, or onnxruntime does not run what it made.
        VerificationError: what it made does not compute what was trained.
    """
    graphs = in_order(bundle)
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        source, made = Path(folder, "onnx"), Path(folder, "ort")
        source.mkdir()
        for graph in graphs:
            (source / f"{graph}.onnx").write_bytes(admitted(bundle, graph))
        in_child("conversion", Path(folder), str(bundle.path))
        files = {f"{graph}.ort": (made / f"{graph}.ort").read_bytes() for graph in graphs}
        config = (made / CONFIG).read_text(encoding="utf-8")
    _check(bundle, {graph: files[f"{graph}.ort"] for graph in graphs})
    operators = [line for line in config.splitlines() if line and not line.startswith("#")]
    files[CONFIG] = "\n".join([f"# {', '.join(f'{graph}.ort' for graph in graphs)}", *operators, ""]).encode()
    files |= {GOLDEN: bundle.read(GOLDEN), MANIFEST: bundle.manifest.to_json().encode()}
    width = str(math.prod(bundle.manifest.input_shape))
    files["README.md"] = asset("mobile_files/README.md", width=width)
    return Deployment(files, "read {output}/README.md", {"operators": "; ".join(operators)})


def _check(bundle: Bundle, models: Mapping[str, bytes]) -> None:
    golden = read_golden(bundle)
    rows = {graph: golden["embedding" if graph == "decoder" else "features"].astype("float32") for graph in models}
    found = run_graphs({graph: (models[graph], rows[graph]) for graph in models}, ".ort", str(bundle.path))
    for graph, outputs in found.items():
        records = compare_graph(
            graph,
            golden,
            {name: values for name, values in outputs.items() if name in golden},
            features=golden["features"],
            threshold=bundle.manifest.variants["fp32"].threshold,
            tolerances=bundle.manifest.variants["fp32"].tolerances or EXACT,
        )
        if wrong := [record for record in records if not record.passed]:
            raise VerificationError(
                f"{bundle.path}: {graph} in ORT format does not compute what was trained: {wrong[0].output}, "
                f"{wrong[0].reason}; verify the bundle first: aetool verify {bundle.path}"
            )
