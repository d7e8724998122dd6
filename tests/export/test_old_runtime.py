"""A bundle made for an old onnxruntime runs there: installed in an environment of its own, without aetool."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import peoples_modules as modules
import pytest
import torch

from aetool.export import ExportOptions, export_module

OLD = "1.17.3"  # of April 2024
PROGRAM = """
import sys
import numpy as np
import onnxruntime

assert onnxruntime.__version__ == sys.argv[2], onnxruntime.__version__
folder = sys.argv[1]
golden = np.load(f"{folder}/golden.npz")
for graph in ("encoder", "decoder", "autoencoder", "detector"):
    session = onnxruntime.InferenceSession(f"{folder}/{graph}.onnx", providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    found = session.run(None, {source: golden[source].astype(np.float32)})
    for output, values in zip(session.get_outputs(), found):
        if values.dtype == bool:
            assert (values == golden[output.name]).all()
        else:
            scale = np.abs(golden[output.name]).max()
            assert np.abs(values - golden[output.name]).max() <= 1e-5 * scale, output.name
print("equal")
"""


@pytest.fixture(scope="module")
def old_python(pytestconfig: pytest.Config) -> Path:
    """An environment with that onnxruntime, kept between runs."""
    folder = pytestconfig.cache.mkdir(f"onnxruntime-{OLD}-py{sys.version_info.minor}")
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=False, clear=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-compile",
            "--no-deps",
        ]
        command = [*pip, f"onnxruntime=={OLD}", "numpy<2"]  # of the rest of its dependencies a session needs none
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 and "CI" not in os.environ:
            pytest.skip(f"onnxruntime {OLD} cannot be installed here: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr
        (folder / "whole").touch()
    return python


def run_there(python: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-c", PROGRAM, str(bundle), OLD]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def exported(folder: Path, options: ExportOptions) -> Path:
    torch.manual_seed(0)
    export_module(modules.Plain(), folder, rows=np.random.default_rng(0).normal(size=(40, 6)), options=options)
    return folder


def test_a_bundle_for_an_old_onnxruntime_gives_its_golden_vectors_there(old_python: Path, tmp_path: Path) -> None:
    bundle = exported(tmp_path / "old", ExportOptions(onnxruntime_min="1.17"))
    done = run_there(old_python, bundle)
    assert done.stdout.strip() == "equal", done.stderr


def test_a_bundle_for_a_later_onnxruntime_does_not_load_there(old_python: Path, tmp_path: Path) -> None:
    done = run_there(old_python, exported(tmp_path / "new", ExportOptions(opset=21)))
    assert done.returncode != 0
    assert "Unsupported model IR version" in done.stderr or "opset 21" in done.stderr
