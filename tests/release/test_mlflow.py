"""MLflow logs a bundle to a real server, loads it in an environment without PyTorch, and scores alike."""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

import aetool
from aetool.bundle.bundle import Bundle

ROOT = Path(__file__).parents[2]
STANDARDS = Path(os.environ.get("AETOOL_STANDARDS", ROOT / ".hosts" / "standards"))
EXPORTED = ROOT / "exported" / "breast-cancer"
pytestmark = pytest.mark.skipif(not (STANDARDS / "bin" / "mlflow").exists(), reason="no MLflow: make standards")
VARIABLES = {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
LOGS = """
import json, sys, mlflow
import aetool.mlflow as flavour
bundle, uri = sys.argv[1:]
mlflow.set_tracking_uri(uri)
with mlflow.start_run():
    logged = flavour.log_model(bundle, name="machines", registered_model_name="machines")
print(json.dumps({"uri": logged.model_uri, "signature": logged.signature.to_dict()}))
"""
LOADS = """
import json, sys, mlflow, pandas
uri, model_uri, table = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(model_uri)
found = model.predict(pandas.read_json(table, orient="split"))
example = model.input_example
assert "torch" not in sys.modules
score, is_anomaly = [float(x) for x in found["score"]], [bool(x) for x in found["is_anomaly"]]
import aetool.mlflow as flavour
with flavour.load_model("models:/machines/1") as session:
    assert session.manifest.id == model.metadata.metadata["aetool"]["bundle_id"]
print(json.dumps({"score": score, "is_anomaly": is_anomaly, "example": list(example.columns)}))
"""


@pytest.fixture
def python(tmp_path):
    """python(script, *arguments): the last line of its output, as JSON."""

    def run(script, *arguments):
        done = subprocess.run(
            [STANDARDS / "bin" / "python", "-c", script, *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, check=False,
            env={**os.environ, **VARIABLES},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def server(tmp_path):
    """The address of a tracking server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = (
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        f"{tmp_path}/kept",
    )
    command = [STANDARDS / "bin" / "mlflow", "server", *places, "--port", str(port), "--workers", "1"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **VARIABLES}, cwd=tmp_path)
    end = time.monotonic() + 300
    try:
        while True:
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_a_logged_bundle_is_loaded_by_mlflow_and_scores_alike(python, server, tmp_path):
    logged = python(LOGS, EXPORTED, server)
    names = Bundle.open(EXPORTED).manifest.feature_names
    assert [column["name"] for column in json.loads(logged["signature"]["inputs"])] == list(names)
    with np.load(EXPORTED / "golden.npz") as golden:
        rows = golden["features"].astype(np.float64)
    table = tmp_path / "rows.json"
    table.write_text(json.dumps({"columns": list(names), "index": list(range(len(rows))), "data": rows.tolist()}))
    found = python(LOADS, server, logged["uri"], table)
    with aetool.load(EXPORTED) as model:
        assert np.allclose(found["score"], model.score(rows), rtol=1e-6)
        assert found["is_anomaly"] == model.detect(rows).tolist()
    assert found["example"] == list(names)
