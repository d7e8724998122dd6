"""A process for what other people's code does with graphs: `python _work.py NAME`, in the directory of the files.

Each piece of work imports what it needs itself: no machine has all of it.
"""

import sys
from pathlib import Path

from aetool.deploy._child import WorkError, run_limited
from aetool.errors import reason_of


def convert() -> None:
    """Convert as `python -m onnxruntime.tools.convert_onnx_models_to_ort` does: onnx/*.onnx to ort/."""
    import runpy

    # --target_platform arm: without layouts that only x86 has.
    options = ["--output_dir", "ort", "--optimization_style", "Fixed", "--target_platform", "arm"]
    sys.argv = ["convert_onnx_models_to_ort", "onnx", *options]
    runpy.run_module("onnxruntime.tools.convert_onnx_models_to_ort", run_name="__main__")


def generate_c() -> None:
    """Write each graph as a C function `graph`: GRAPH.c for each GRAPH.onnx."""
    import onnx
    from emx_onnx_cgen import CodegenError, Compiler, ShapeInferenceError, UnsupportedOpError
    from emx_onnx_cgen.compiler import CompilerOptions

    for path in sorted(Path().glob("*.onnx")):
        settings = CompilerOptions(model_name="graph", large_temp_threshold_bytes=0, large_weight_threshold=0)
        model = onnx.load(path)
        constants = {tensor.name for tensor in model.graph.initializer}
        for value in [value for value in model.graph.input if value.name in constants]:
            model.graph.input.remove(value)  # the threshold, which is a constant of the program
        try:
            code = Compiler(settings).compile(model)
        except (CodegenError, ShapeInferenceError, UnsupportedOpError) as error:
            raise WorkError(f"no C can be generated for {path.stem}: {reason_of(error, 200)}") from error
        path.with_suffix(".c").write_text(code, encoding="utf-8")


def run() -> None:
    """Run each GRAPH.onnx or GRAPH.ort on the rows in GRAPH.npy, and write its outputs to GRAPH.npz."""
    import numpy as np

    from aetool.runtime.providers import onnxruntime

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


if __name__ == "__main__":
    sys.exit(run_limited({"convert": convert, "generate_c": generate_c, "run": run}[sys.argv.pop(1)]))
