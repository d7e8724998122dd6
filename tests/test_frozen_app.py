"""An app in one file, packed by PyInstaller, which finds imports by reading the code."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("PyInstaller") is None, reason="PyInstaller is not installed: no app can be packed"
)

APP = """
import json, sys
import aetool

bundle, key, wrong_key = sys.argv[1:]
found = {}

def told(make):
    try:
        make()
    except aetool.AetoolError as error:
        return f"{type(error).__name__}: {error}"

with aetool.load(bundle, require_signature=key, preload=True) as model:
    row = dict.fromkeys(model.feature_names, 1.0)
    found["score"] = float(model.score(row))
    found["reasons"] = [reason.feature for reason in model.reasons(row)[0]]
    found["tuning"] = model.tuning.words
    found["placement"] = len(model.placement())
    del row["mean radius"]
    row["mean radios"] = 1.0
    found["column"] = told(lambda: model.score(row))
    found["width"] = told(lambda: model.score([[1.0] * 29]))
found["signature"] = told(lambda: aetool.load(bundle, require_signature=wrong_key))
found["no bundle"] = told(lambda: aetool.load(bundle + "s"))
print(json.dumps(found))
"""

# The GPU's libraries would take most of the time; what no such app needs is left out, as its author would.
SPEC = """
unused = ("cuda", "tensorrt")
stored = dict.fromkeys(("BINARY", "EXTENSION", "DATA"), False)  # not packed: quicker
unneeded = ["onnxruntime_ep_openvino", "pyarrow", "torch", "pandas", "scipy"]
a = Analysis(["app.py"], pathex=[{root!r}], excludes=unneeded)
binaries = [entry for entry in a.binaries if not any(word in entry[0] for word in unused)]
EXE(PYZ(a.pure), a.scripts, binaries, a.datas, name="app", upx=False, cdict=stored)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The packed app, a signed bundle with a tuning file, and two public keys: its author's and another's."""
    from aetool.bundle.keys import write_keys
    from aetool.bundle.write import sign_bundle

    folder = tmp_path_factory.mktemp("frozen")
    bundle = folder / "bundle"
    for file in (ROOT / "exported" / "breast-cancer").iterdir():
        bundle.mkdir(exist_ok=True)
        (bundle / file.name).write_bytes(file.read_bytes())
    keys = [write_keys(folder / name) for name in ("mine.pem", "other.pem")]
    sign_bundle(bundle, folder / "mine.pem")
    old = {"kind": "aetool.tuning", "aetool": "0.0.1"}
    (folder / "bundle.tuning.json").write_text(json.dumps(old))
    (folder / "app.py").write_text(APP)
    (folder / "app.spec").write_text(SPEC.format(root=str(ROOT)))
    built = subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=ERROR", "app.spec"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return [folder / "dist" / "app", bundle, *keys]


def test_a_packed_app_scores_explains_refuses_and_checks_a_signature(app, tmp_path):
    done = subprocess.run(
        list(map(str, app)), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False, env={}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["score"] > 0 and len(found["reasons"]) == 3 and found["placement"] > 3
    assert found["column"].startswith("InputError: ") and "(nearest: 'mean radios')" in found["column"]
    assert found["width"].startswith("InputError: ") and "expected shape (rows, 30)" in found["width"]
    assert found["signature"].startswith("BundleError: ") and "signature.json" in found["signature"]
    assert "(nearest: 'bundle')" in found["no bundle"]
    assert found["tuning"].startswith("bundle.tuning.json: ignored, made with aetool 0.0.1")
