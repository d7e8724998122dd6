"""docs/manifest.schema.json and aetool agree on what a manifest is, and where it is wrong."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aetool.bundle.manifest import Manifest
from aetool.bundle.schema import member
from aetool.checks.fidelity import Budget
from aetool.decisions import Goal, calibrate
from aetool.errors import BundleError
from aetool.quantize import QuantizeOptions, quantize
from aetool.segments import add_segments

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "docs" / "manifest.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
LOOSE = Budget(max_auroc_drop=None, max_flips=None, min_speedup=0.0)


def faults(manifest: Any) -> set[str]:
    """JSON paths of what the schema finds; a missing key and a wrong key are named themselves."""
    return {place for error in VALIDATOR.iter_errors(manifest) for place in _places(error)}


def _places(error: Any) -> Iterator[str]:
    if error.validator == "required":
        yield from (member(error.json_path, k) for k in error.validator_value if k not in error.instance)
    elif "propertyNames" in error.absolute_schema_path:
        yield member(error.json_path, error.instance)
    else:
        yield error.json_path


def refusal(manifest: Any) -> str | None:
    """aetool's message; None where it takes the manifest."""
    try:
        Manifest.from_json(json.dumps(manifest), "manifest.json")
    except BundleError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def everything(bundle, cancer, tmp_path_factory):
    """A bundle with every optional part: quantized, with segments, calibrated."""
    path = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("schema") / "everything"))
    quick = QuantizeOptions(rounds=1, seconds=0.01)
    quantize(path, cancer.values, cancer.labels, precision="int8-dynamic", budget=LOOSE, options=quick)
    add_segments(path, cancer.values, clusters=2, source="cancer.csv")
    calibrate(path, cancer.values[~cancer.labels], goal=Goal(false_alarms=0.05), per_segment=True)
    return path


@pytest.fixture(scope="module")
def content(everything):
    """The manifest of `everything`, a column of categories added and the history left out."""
    manifest = json.loads((everything / "manifest.json").read_text(encoding="utf-8"))
    manifest["features"] = manifest["features"][:2]
    manifest["features"][1]["categories"] = ["a", "b"]
    manifest["input_shape"] = [2]
    manifest["provenance"], manifest["score"], manifest["segments"] = {"seed": 0}, {}, {"names": []}
    manifest["calibration"] = {"goal": {}}
    return manifest


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_takes_the_bundle_of_this_repository():
    text = (ROOT / "exported" / "breast-cancer" / "manifest.json").read_text(encoding="utf-8")
    assert faults(json.loads(text)) == set()


def test_the_schema_takes_a_bundle_with_categories(mixed_bundle):
    manifest = json.loads((mixed_bundle / "manifest.json").read_text(encoding="utf-8"))
    assert any("categories" in feature for feature in manifest["features"])
    assert faults(manifest) == set()


def test_the_schema_takes_a_bundle_with_every_optional_part(everything, content):
    manifest = json.loads((everything / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["variants"]) == {"fp32", "int8-dynamic"} and manifest["segments"]
    assert "tolerances" in manifest["variants"]["int8-dynamic"]
    assert faults(manifest) == faults(content) == set()
    assert refusal(content) is None


def test_schema_and_aetool_take_a_series(content):
    manifest = copy.deepcopy(content)
    _as_series(manifest)
    assert faults(manifest) == set()
    assert refusal(manifest) is None
    assert set(manifest["series"]) == set(SCHEMA["properties"]["series"]["properties"])


def test_the_schema_describes_every_key_that_aetool_writes(everything):
    manifest = json.loads((everything / "manifest.json").read_text(encoding="utf-8"))
    definitions = SCHEMA["$defs"]
    variant = manifest["variants"]["int8-dynamic"]
    assert set(manifest) | {"series", "image"} == set(SCHEMA["properties"])
    assert set(variant) | {"inner_values"} == set(definitions["variant"]["properties"])
    assert set(variant["tolerances"]) == set(definitions["tolerances"]["properties"])
    assert set(manifest["files"]["golden.npz"]) == set(definitions["file"]["properties"])
    assert set(manifest["features"][0]) == set(definitions["feature"]["properties"]) - {"categories"}


def _as_series(manifest, **changes):
    """Turn the manifest into one of windows, with a fault."""
    series = {"window": 4, "stride": 2, "every": 0.5, "time": "t", "group": None, "gap": 2.0, "row_threshold": 0.5}
    manifest.update(input_shape=[4, 2], series={**series, **changes})


EDITS = {
    "$.format_version": lambda m: m.update(format_version="2.0"),
    "$.format_version (no version)": lambda m: m.update(format_version="one"),
    "$.name": lambda m: m.update(name=3),
    "$.id": lambda m: m.pop("id"),
    "$.created": lambda m: m.update(created=None),
    "$.tools.torch": lambda m: m["tools"].update(torch=2),
    "$.tools['scikit-learn']": lambda m: m["tools"].update({"scikit-learn": 1}),
    "$.input_shape": lambda m: m.update(input_shape=[]),
    "$.input_shape[0]": lambda m: m.update(input_shape=[0]),
    "$.embedding_shape[0]": lambda m: m.update(embedding_shape=["8"]),
    "$.embedding_shape": lambda m: m.pop("embedding_shape"),
    "$.features": lambda m: m.update(features={}),
    "$.features[1]": lambda m: m["features"].__setitem__(1, "age"),
    "$.features[0].name": lambda m: m["features"][0].pop("name"),
    "$.features[0].unit": lambda m: m["features"][0].update(unit=None),
    "$.features[1].categories": lambda m: m["features"][1].update(categories=["a", "a"]),
    "$.features[1].categories (none)": lambda m: m["features"][1].update(categories=[]),
    "$.features[1].categories[1]": lambda m: m["features"][1].update(categories=["a", 1]),
    "$.opset": lambda m: m.update(opset=True),
    "$.ir_version": lambda m: m.update(ir_version=0),
    "$.score": lambda m: m.update(score="mse"),
    "$.threshold": lambda m: m.update(threshold=0.5),
    "$.variants": lambda m: m.update(variants=[]),
    "$.variants.fp32": lambda m: m.update(variants={}),
    "$.variants['int8-dynamic'].threshold": lambda m: m["variants"]["int8-dynamic"].pop("threshold"),
    "$.variants.fp32.threshold": lambda m: m["variants"]["fp32"].update(threshold=10**400),
    "$.variants.fp32.figures": lambda m: m["variants"]["fp32"].update(figures=[]),
    "$.variants.fp32.files.detector": lambda m: m["variants"]["fp32"]["files"].pop("detector"),
    "$.variants.fp32.files.encoder": lambda m: m["variants"]["fp32"]["files"].update(encoder=1),
    "$.variants.fp32.files.encoder (missing)": lambda m: m["variants"]["fp32"]["files"].pop("encoder"),
    "$.variants.fp32.inner_values": lambda m: m["variants"]["fp32"].update(inner_values=None),
    "$.variants.fp32.inner_values.detector": lambda m: m["variants"]["fp32"].update(
        inner_values={"detector": None}
    ),
    "$.variants.fp32.inner_values.detector[0]": lambda m: m["variants"]["fp32"].update(
        inner_values={"detector": [""]}
    ),
    "$.variants['int8-dynamic'].tolerances.flips": lambda m: m["variants"]["int8-dynamic"]["tolerances"].pop(
        "flips"
    ),
    "$.variants['int8-dynamic'].tolerances.distance": lambda m: m["variants"]["int8-dynamic"]["tolerances"].update(
        distance="far"
    ),
    "$.variants['int8-dynamic'].tolerances": lambda m: m["variants"]["int8-dynamic"].update(tolerances=None),
    "$.provenance": lambda m: m.pop("provenance"),
    "$.files['golden.npz'].sha256": lambda m: m["files"]["golden.npz"].update(sha256="0" * 63),
    "$.files['golden.npz'].size": lambda m: m["files"]["golden.npz"].update(size=-1),
    "$.files['golden.npz']": lambda m: m["files"].update({"golden.npz": None}),
    "$.files['../x']": lambda m: m["files"].update({"../x": m["files"]["golden.npz"]}),
    "$.files['manifest.json']": lambda m: m["files"].update({"manifest.json": m["files"]["golden.npz"]}),
    r"$.files['it\'s\\']": lambda m: m["files"].update({"it's\\": m["files"]["golden.npz"]}),
    "$.segments": lambda m: m.update(segments=None),
    "$.series": lambda m: m.update(series=None),
    "$.series.window": lambda m: _as_series(m, window=0),
    "$.series.stride": lambda m: _as_series(m, stride=None),
    "$.series.every": lambda m: _as_series(m, every=0),
    "$.series.time": lambda m: _as_series(m, time=3),
    "$.series.gap": lambda m: _as_series(m, gap=-1.5),
    "$.series.row_threshold": lambda m: _as_series(m, row_threshold=None),
    "$.image": lambda m: m.update(image=[2]),
    "$.image[1]": lambda m: m.update(image=[2, 0]),
    "$": lambda m: m.clear(),
}
"""JSON path of the fault (and a word, where it has two) -> an edit that makes it."""


@pytest.mark.parametrize("place", EDITS)
def test_schema_and_aetool_name_the_same_place(content, place):
    changed = copy.deepcopy(content)
    EDITS[place](changed)
    found, message = faults(changed), refusal(changed)
    if place == "$":  # everything is missing: aetool names the first
        assert "$.format_version is missing" in message and "$.format_version" in found
        return
    path = re.sub(r" \(.*\)$", "", place)
    assert found == {path}
    assert message.removeprefix("manifest.json: ").startswith((f"{path} ", f"{path}:")) or (
        message.startswith(f"manifest.json: {path.rpartition('.')[0]} must ")  # an object that lacks a member
        and path.rpartition(".")[2] in message
    )


BEYOND = {
    "$.features": lambda m: m["features"].pop(),
    "$.image": lambda m: m.update(image=[2, 2]),
    "$.variants.fp32.files.decoder": lambda m: m["files"].pop("decoder.onnx"),
}


@pytest.mark.parametrize("place", BEYOND)
def test_what_a_schema_cannot_say_aetool_checks(content, place):
    changed = copy.deepcopy(content)
    BEYOND[place](changed)
    assert faults(changed) == set()
    assert f"{place} " in refusal(changed)


def test_a_model_without_embedding_has_no_encoder(content):
    changed = {**copy.deepcopy(content), "embedding_shape": None}
    graphs = ("encoder", "decoder", "segmenter")
    places = {
        member(f"{member('$.variants', precision)}.files", graph)
        for precision in changed["variants"]
        for graph in graphs
    }
    assert faults(changed) == places
    assert any(place in refusal(changed) for place in places)
    for variant in changed["variants"].values():
        for graph in graphs:
            del variant["files"][graph]
    assert faults(changed) == set() and refusal(changed) is None


VALUES = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**63,
        10**400,
        1.5,
        "",
        "x",
        "1.0",
        "2.0",
        "..",
        "a/b",
        [],
        [1],
        [""],
        {},
    ]
)


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        yield (*way, key)
        yield from _ways(inside, (*way, key))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_the_schema_refuses_aetool_refuses_at_one_of_its_places(content, data):
    changed = copy.deepcopy(content)
    *parents, last = data.draw(st.sampled_from(list(_ways(changed))))
    place = changed
    for key in parents:
        place = place[key]
    if data.draw(st.booleans()):
        del place[last]
    else:
        place[last] = data.draw(VALUES)
    found, message = faults(changed), refusal(changed)
    if found:
        assert message is not None
        owners = found | {re.sub(r"(\.\w+|\['.*?'\])$", "", path) for path in found}
        assert any(message.startswith(f"manifest.json: {path}") for path in owners), (found, message)
    elif message is not None:  # the rules between two places, which a schema cannot say
        assert "$.features must be distinct names" in message or "does not list under files" in message, message
