"""The process that `aetool.deploy.child` starts: one piece of work on the files of the current directory."""

import json
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from aetool.deploy.child import FAILED, REASON
from aetool.errors import reason_of
from aetool.runtime.engine import onnxruntime

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]


class WorkError(Exception):
    """What the graph is to blame for, in words."""


def generate_c() -> None:
    """Write a GRAPH.c for each GRAPH.onnx."""
    # Here: the other works need neither of them.
    import onnx  # noqa: PLC0415
    from emx_onnx_cgen import CodegenError, Compiler, ShapeInferenceError, UnsupportedOpError  # noqa: PLC0415
    from emx_onnx_cgen.compiler import CompilerOptions  # noqa: PLC0415

    for path in sorted(Path().glob("*.onnx")):
        settings = CompilerOptions(model_name="graph", large_temp_threshold_bytes=0, large_weight_threshold=0)
        try:
            code = Compiler(settings).compile(onnx.load(path))
        except (CodegenError, ShapeInferenceError, UnsupportedOpError) as error:
            raise WorkError(f"no C can be generated for {path.stem}: {reason_of(error, 200)}") from error
        path.with_suffix(".c").write_text(code, encoding="utf-8")


def convert() -> None:
    """Write onnx/*.onnx in ORT format to ort/."""
    # --target_platform arm: without layouts that only x86 has.
    options = ["--output_dir", "ort", "--optimization_style", "Fixed", "--target_platform", "arm"]
    sys.argv = ["convert_onnx_models_to_ort", "onnx", *options]
    runpy.run_module("onnxruntime.tools.convert_onnx_models_to_ort", run_name="__main__")


def run() -> None:
    """Run each GRAPH.onnx or GRAPH.ort on the rows in GRAPH.npy; its outputs go to GRAPH.npz."""
    runtime = onnxruntime()
    for path in sorted([*Path().glob("*.onnx"), *Path().glob("*.ort")]):
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        if path.suffix == ".ort":
            options.add_session_config_entry("session.load_model_format", "ORT")
        rows = np.load(path.with_suffix(".npy"), allow_pickle=False)
        try:
            session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            outputs = session.run(names, {session.get_inputs()[0].name: rows})
        except Exception as error:  # onnxruntime's errors share no public base
            raise WorkError(f"onnxruntime cannot run {path.stem}: {reason_of(error, 200)}") from error
        np.savez(path.with_suffix(".npz"), **dict(zip(names, outputs, strict=True)))


WORKS: Mapping[str, Callable[[], None]] = {"generation of C": generate_c, "conversion": convert, "a run": run}


def main(work: str, memory: str, seconds: str) -> int:
    """Do it within the limits; the exit code."""
    if resource is not None:
        for kind, limit in ((resource.RLIMIT_AS, int(memory)), (resource.RLIMIT_CPU, int(seconds))):
            hard = resource.getrlimit(kind)[1]
            most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        WORKS[work]()
    except WorkError as error:
        Path(REASON).write_text(json.dumps(str(error)), encoding="utf-8")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
