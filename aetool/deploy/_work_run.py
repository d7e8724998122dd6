"""A process that runs each GRAPH.onnx or GRAPH.ort of the current directory on the rows in GRAPH.npy."""

import sys
from pathlib import Path

import numpy as np

from aetool.deploy._child import WorkError, run_limited
from aetool.errors import reason_of
from aetool.runtime.providers import onnxruntime


def run() -> None:
    """Write the outputs of each graph to GRAPH.npz."""
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
    sys.exit(run_limited(run))
