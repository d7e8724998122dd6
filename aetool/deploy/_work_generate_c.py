"""A process that writes a GRAPH.c for each GRAPH.onnx of the current directory."""

import sys
from pathlib import Path

import onnx
from emx_onnx_cgen import CodegenError, Compiler, ShapeInferenceError, UnsupportedOpError
from emx_onnx_cgen.compiler import CompilerOptions

from aetool.deploy._child import WorkError, run_limited
from aetool.errors import reason_of


def generate_c() -> None:
    """Write each graph as a C function `graph`."""
    for path in sorted(Path().glob("*.onnx")):
        settings = CompilerOptions(model_name="graph", large_temp_threshold_bytes=0, large_weight_threshold=0)
        try:
            code = Compiler(settings).compile(onnx.load(path))
        except (CodegenError, ShapeInferenceError, UnsupportedOpError) as error:
            raise WorkError(f"no C can be generated for {path.stem}: {reason_of(error, 200)}") from error
        path.with_suffix(".c").write_text(code, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_limited(generate_c))
