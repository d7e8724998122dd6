"""ORT format, for the reduced onnxruntime of phones: each graph as .ort, and which operators a build must have."""

import math
import subprocess
import sys
import tempfile
from pathlib import Path

from aetool.bundle import GOLDEN, Bundle
from aetool.deploy.deployment import Deployment, asset, in_order
from aetool.errors import ExportError, VerificationError
from aetool.manifest import MANIFEST
from aetool.parity import compare_graph
from aetool.runtime.engine import onnxruntime
from aetool.selftest import read_golden

CONFIG = "required_operators.config"


def mobile(bundle: Bundle) -> Deployment:
    """Each graph in ORT format by onnxruntime's own converter, run with onnxruntime here before it is given.

    Raises:
        ExportError: the converter refuses a graph.
        VerificationError: what it made does not compute what was trained.
    """
    graphs = in_order(bundle)
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        source, made = Path(folder, "onnx"), Path(folder, "ort")
        source.mkdir()
        for graph in graphs:
            (source / f"{graph}.onnx").write_bytes(bundle.graph(graph))
        # --target_platform arm: without layouts that only x86 has.
        options = ["--output_dir", str(made), "--optimization_style", "Fixed", "--target_platform", "arm"]
        done = subprocess.run(
            [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(source), *options],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            reason = " ".join(done.stderr.split())[-300:]
            raise ExportError(f"{bundle.path}: onnxruntime cannot convert it to ORT format: {reason}")
        files |= {f"{graph}.ort": (made / f"{graph}.ort").read_bytes() for graph in graphs}
        config = (made / CONFIG).read_text(encoding="utf-8")
    for graph in graphs:
        _check(bundle, graph, files[f"{graph}.ort"])
    operators = [line for line in config.splitlines() if line and not line.startswith("#")]
    files[CONFIG] = "\n".join([f"# {', '.join(f'{graph}.ort' for graph in graphs)}", *operators, ""]).encode()
    files |= {GOLDEN: bundle.read(GOLDEN), MANIFEST: bundle.manifest.to_json().encode()}
    width = str(math.prod(bundle.manifest.input_shape))
    files |= {
        name: asset(f"mobile_files/{name}", width=width)
        for name in ("Detector.kt", "Detector.swift", "Detector.cs", "README.md")
    }
    return Deployment(files, "read {output}/README.md", {"operators": "; ".join(operators)})


def _check(bundle: Bundle, graph: str, model: bytes) -> None:
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ORT")
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    golden = read_golden(bundle)
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, {given.name: golden[given.name].astype("float32")})
    records = compare_graph(
        graph,
        golden,
        dict(zip(names, outputs, strict=True)),
        features=golden["features"],
        threshold=bundle.manifest.variants["fp32"].threshold,
    )
    if wrong := [record for record in records if not record.passed]:
        raise VerificationError(
            f"{bundle.path}: {graph} in ORT format does not compute what was trained: {wrong[0].output}, "
            f"{wrong[0].reason}; verify the bundle first: aetool verify {bundle.path}"
        )
