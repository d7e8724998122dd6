"""The bill of materials of a bundle: valid by the schema of CycloneDX, and true."""

import json

import pytest

from aetool.bundle.bom import BOM, ml_bom
from aetool.bundle.bundle import Bundle
from aetool.bundle.write import publish
from aetool.decisions import Goal, calibrate


def require_valid(text):
    # Compiles a grammar for a second and a half, which every process that collects the tests would wait for.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, str(fault)[:500]


@pytest.fixture
def published(exported, tmp_path):
    bundle = Bundle.open(exported)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    return publish(tmp_path / "published", bundle.manifest, files)


def test_a_published_bundle_has_a_valid_one_with_every_file_and_its_hash(published):
    published.check_files()
    text = published.read(BOM).decode()
    require_valid(text)
    content = json.loads(text)
    listed = {
        part["name"]: part["hashes"][0]["content"] for part in content["components"] if part["type"] == "file"
    }
    records = {name: record.sha256 for name, record in published.manifest.files.items() if name != BOM}
    assert listed == records
    model = content["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "breast-cancer")
    assert model["hashes"][0]["content"] == published.manifest.id
    tools = {part["name"]: part["version"] for part in content["components"] if part["type"] == "library"}
    assert tools.items() <= published.manifest.tools.items() and "torch" in tools


def test_publishing_again_makes_it_anew(published, tmp_path):
    files = {name: published.read(name) for name in published.manifest.files}
    again = publish(tmp_path / "again", published.manifest, {**files, "README.md": b"changed"})
    first, second = json.loads(published.read(BOM)), json.loads(again.read(BOM))
    assert first["components"] != second["components"]
    assert len(first["components"]) == len(second["components"])


def test_a_calibrated_bundle_tells_its_false_alarms_with_their_interval(exported, tmp_path):
    import numpy as np

    with np.load(exported / "golden.npz") as golden:
        rows = golden["features"]
    made = calibrate(exported, np.tile(rows, (2, 1)), goal=Goal(false_alarms=0.1), output=tmp_path / "out")
    text = made.bundle.read(BOM).decode()
    require_valid(text)
    metrics = json.loads(text)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    alarms = next(each for each in metrics if each["type"] == "share of normal rows flagged")
    promised = made.bundle.manifest.calibration["false_alarms"]
    assert float(alarms["value"]) == promised["share"]
    assert float(alarms["confidenceInterval"]["upperBound"]) == promised["high"]


def test_names_of_any_kind_keep_it_valid(published):
    odd = '"\\\x1b[31m\u202e</script>\n'
    tools = {**published.manifest.tools, "torch": odd, odd: "1"}
    require_valid(ml_bom(published.manifest._replace(name=odd, tools=tools, provenance={"data": odd})))
