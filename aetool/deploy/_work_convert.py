"""A process that writes onnx/*.onnx in ORT format to ort/, with onnxruntime's own converter."""

import runpy
import sys

from aetool.deploy._child import run_limited


def convert() -> None:
    """Convert as `python -m onnxruntime.tools.convert_onnx_models_to_ort` does."""
    # --target_platform arm: without layouts that only x86 has.
    options = ["--output_dir", "ort", "--optimization_style", "Fixed", "--target_platform", "arm"]
    sys.argv = ["convert_onnx_models_to_ort", "onnx", *options]
    runpy.run_module("onnxruntime.tools.convert_onnx_models_to_ort", run_name="__main__")


if __name__ == "__main__":
    sys.exit(run_limited(convert))
