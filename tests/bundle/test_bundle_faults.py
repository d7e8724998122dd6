"""A bundle that is missing, damaged, foreign, unsafe or too new: one line that says which, and what to do."""

import copy
import json
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aetool
from aetool import BundleError, InputError
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import Limits
from aetool.bundle.manifest import GRAPHS, Manifest
from aetool.checks.verify import verify_bundle

FILES = [*(f"{graph}.onnx" for graph in (*GRAPHS, "calibrator")), "baseline.json", "golden.npz", "README.md"]


def refused(path, action):
    """The message of the BundleError that `action` raises; it must be one line naming the bundle."""
    with pytest.raises(BundleError) as caught:
        action()
    message = str(caught.value)
    assert message.isprintable()
    assert str(path) in message
    return message


def use_all(path):
    with aetool.load(path, provider="cpu") as model:
        for graph in model.graphs:
            model.run(graph, np.ones((2, model.embedding_dim if graph == "decoder" else model.n_features)))
        model.p_value(np.ones((2, model.n_features)))


# The files


DAMAGE = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "first bit": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    "last bit": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 128])),
    "foreign": lambda file: file.write_bytes(b"PK" * (file.stat().st_size // 2)),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
    "a FIFO": lambda file: (file.unlink(), os.mkfifo(file)),
    "a dangling link": lambda file: (file.unlink(), file.symlink_to("nowhere")),
    "a link to itself": lambda file: (file.rename(file.parent.parent / "real"), file.symlink_to("../real")),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named(bundle, name, damage):
    damage(bundle / name)
    assert name in refused(bundle, lambda: Bundle.open(bundle).check_files())
    assert name in refused(bundle, lambda: verify_bundle(bundle))
    if name.endswith(".onnx"):
        assert name in refused(bundle, lambda: use_all(bundle))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_manifest_is_named_or_is_no_manifest(bundle, damage):
    (bundle / "manifest.json").write_text((bundle / "manifest.json").read_text().strip())
    damage(bundle / "manifest.json")
    assert "manifest.json" in refused(bundle, lambda: aetool.load(bundle))


def test_messages_say_what_was_expected_found_and_what_to_do(bundle):
    encoder = bundle / "encoder.onnx"
    size = encoder.stat().st_size
    encoder.write_bytes(encoder.read_bytes()[:100])
    message = refused(bundle, lambda: use_all(bundle))
    assert f"{size:,} bytes expected, found 100" in message
    assert "fetch or export" in message


@pytest.mark.parametrize("name", ["notes.txt", "int8/encoder.onnx", ".hidden", "link", "README.md~"])
def test_a_file_that_is_not_listed_is_foreign(bundle, name):
    (bundle / name).parent.mkdir(exist_ok=True)
    if name == "link":
        (bundle / name).symlink_to(bundle.parent)
    else:
        (bundle / name).write_text("x")
    assert name in refused(bundle, lambda: Bundle.open(bundle).check_files())


PLACES = {
    "nothing": lambda tmp: tmp / "none",
    "nothing below a file": lambda tmp: (tmp / "file").write_text("") or tmp / "file" / "bundle",
    "a file": lambda tmp: (tmp / "file").write_text("") or tmp / "file",
    "an empty directory": lambda tmp: tmp,
    "a name that is too long": lambda tmp: tmp / ("x" * 300),
    "a link to itself": lambda tmp: (tmp / "loop").symlink_to("loop") or tmp / "loop",
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
def test_a_place_without_a_bundle_is_named(tmp_path, make):
    path = make(tmp_path)
    refused(path, lambda: aetool.load(path))
    refused(path, lambda: Bundle.open(path))


def test_a_name_that_no_file_can_have_is_a_bundle_error():
    with pytest.raises(BundleError, match="found nothing"):
        aetool.load("a\0b")


def test_a_mistyped_bundle_is_told_the_nearest_name(tmp_path):
    (tmp_path / "Wholesale").mkdir()
    with pytest.raises(BundleError, match=r"found nothing \(nearest: 'Wholesale'\)"):
        aetool.load(tmp_path / "wholsale")
    with pytest.raises(BundleError, match="found nothing;"):
        aetool.load("no\0thing/wholsale")


def test_a_bundle_behind_a_link_is_fine(bundle, rows):
    link = bundle.parent / "current"
    link.symlink_to(bundle)
    assert aetool.load(link).score(rows).shape == (len(rows),)
    assert Bundle.open(link).check_files() == len(FILES)


def test_a_file_replaced_after_loading_is_refused_when_its_session_is_made(bundle, rows):
    model = aetool.load(bundle, provider="cpu")
    expected = model.score(rows)
    for graph in GRAPHS:
        (bundle / f"{graph}.onnx").write_bytes((bundle / "README.md").read_bytes())
    assert "encoder.onnx" in refused(bundle, lambda: model.encode(rows))
    np.testing.assert_array_equal(model.score(rows), expected)  # the session that was made already


# Files that their hash does not give away


def test_a_graph_that_onnxruntime_refuses_is_named(bundle, rewrite):
    rewrite(bundle, encoder=b"not a graph")
    assert "encoder.onnx: refused before it runs" in refused(bundle, lambda: use_all(bundle))


def test_a_graph_in_the_place_of_another_is_refused(bundle, rewrite, rows):
    for stem, other in (("encoder", "decoder"), ("detector", "encoder"), ("autoencoder", "encoder")):
        rewrite(bundle, **{stem: (bundle / f"{other}.onnx").read_bytes()})
    model = aetool.load(bundle, provider="cpu")
    for method, name in (("encode", "encoder"), ("score", "detector"), ("reconstruct", "autoencoder")):
        assert f"{name}.onnx" in refused(bundle, lambda method=method: getattr(model, method)(rows))


def swap_features(manifest):
    manifest["features"][:2] = manifest["features"][1::-1]


CONTRADICTIONS = {
    "features swapped": (swap_features, "feature_names"),
    "a feature less": (lambda m: (m["features"].pop(), m.update(input_shape=[29])), "shape [29]"),
    "another embedding": (lambda m: m.update(embedding_shape=[7]), "shape [7]"),
    "an embedding of another rank": (lambda m: m.update(embedding_shape=[30, 4]), "shape [30, 4]"),
    "rows of another rank": (lambda m: m.update(input_shape=[30, 1], features=[]), "shape [30, 1]"),
    "another threshold": (lambda m: m["variants"]["fp32"].update(threshold=9.5), "threshold '9.5'"),
    "another bundle's id": (lambda m: m.update(id="0" * 64), "bundle '000"),
}


@pytest.mark.parametrize(("change", "named"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_manifest_that_contradicts_its_graphs_is_refused(bundle, rewrite, change, named):
    rewrite(bundle, change)
    assert named in refused(bundle, lambda: use_all(bundle))


# The manifest


@pytest.fixture(scope="module")
def content(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    manifest["provenance"] = {"seed": 0}
    manifest["features"] = manifest["features"][:2]
    manifest["input_shape"] = [2]
    return manifest


def parse(content):
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return Manifest.from_json(text, "bundle/manifest.json")


def assert_parses_or_is_refused(text):
    try:
        manifest = parse(text)
    except BundleError as error:
        assert str(error).isprintable()
        assert str(error).startswith("bundle/manifest.json: ")
        assert len(str(error)) < 1000
        return None
    return manifest


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**400, 1e308, -0.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(
        ["", "..", "../x", "/etc/passwd", "a\0b", "\ud800", "fp32", "encoder.onnx", "1.0", "\n", "٣"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@settings(max_examples=300)
@given(data=st.data())
def test_any_json_value_at_any_place_is_a_manifest_or_a_bundle_error(content, data):
    changed = {"root": copy.deepcopy(content)}
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from([("root", *path) for path in places(changed["root"])]))
        parent = changed
        for key in way:
            parent = parent[key]
        action = data.draw(st.sampled_from(["replace", "delete", "add"]))
        if action == "delete" and way:
            del parent[last]
        elif action == "add" and isinstance(parent[last], dict):
            parent[last][data.draw(st.text(max_size=5))] = data.draw(JSON)
        else:
            parent[last] = data.draw(JSON)
    manifest = assert_parses_or_is_refused(json.dumps(changed["root"]))
    if manifest is not None:  # and what was understood is written as it was read
        assert json.loads(manifest.to_json()) == changed["root"]
        assert parse(manifest.to_json()) == manifest


@settings(max_examples=200)
@given(data=st.data())
def test_any_damage_to_the_text_is_a_manifest_or_a_bundle_error(content, data):
    text = bytearray(json.dumps(content).encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    assert_parses_or_is_refused(bytes(text))


BROKEN = {
    "empty": "",
    "not JSON": "<html>",
    "not UTF-8": b'{"name": "\xff"}',
    "a list": "[]",
    "null": "null",
    "NaN": '{"format_version": NaN}',
    "Infinity": '{"format_version": -Infinity}',
    "too large an integer": '{"unknown": ' + "9" * 5000 + "}",
    "key twice": '{"name": "a", "name": "b"}',
    "bottomless lists": "[" * 100_000,
    "two documents": "{} {}",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(BundleError, match=r"manifest\.json: ") as caught:
        parse(text)
    assert str(caught.value).isprintable()


UNSTORABLE = {
    "too large a float": "1e999",
    "half a surrogate pair": '"\\ud800"',
    "half a pair in a key": '{"\\udc00": 1}',
    "deep lists": "[" * 100 + "]" * 100,
    "deep objects": '{"a":' * 100 + "1" + "}" * 100,
}


@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_could_not_be_written_again_is_refused_even_in_unknown_places(content, value):
    text = json.dumps({**content, "later": "@"})
    parse(text)
    with pytest.raises(BundleError, match="not valid JSON") as caught:
        parse(text.replace('"@"', value))
    assert str(caught.value).isprintable()


WRONG = {
    "version missing": (lambda m: m.pop("format_version"), r"\$\.format_version is missing"),
    "version a number": (lambda m: m.update(format_version=1), "must be a string, found '1'"),
    "version empty": (lambda m: m.update(format_version=""), "is not a version"),
    "version zero": (lambda m: m.update(format_version="0.9"), "is not a version"),
    "version in words": (lambda m: m.update(format_version="1.x"), "is not a version"),
    "version of many digits": (lambda m: m.update(format_version="9" * 5000), "is not a version"),
    "version newer": (lambda m: m.update(format_version="2.0"), "2.0 is newer than 1.0.*upgrade aetool"),
    "version much newer": (lambda m: m.update(format_version="10"), "10 is newer"),
    "a feature less than inputs": (lambda m: m["features"].pop(), "found 1 names"),
    "features of images": (lambda m: m.update(input_shape=[2, 1]), r"each of the \(2, 1\) inputs"),
    "feature twice": (lambda m: m["features"].append(m["features"][0]), "3 names, 2 distinct"),
    "feature not an object": (lambda m: m["features"].append("x"), r"\$\.features\[2\] must be an object"),
    "dimension zero": (
        lambda m: m.update(embedding_shape=[0]),
        r"embedding_shape\[0\] must be a size of 1 or more",
    ),
    "dimension true": (lambda m: m.update(embedding_shape=[True]), r"embedding_shape\[0\] must be a size"),
    "dimension a float": (lambda m: m.update(input_shape=[4.0]), r"input_shape\[0\] must be a size"),
    "dimension too large": (lambda m: m.update(input_shape=[2**31]), r"input_shape\[0\] must be a size"),
    "no dimension": (lambda m: m.update(embedding_shape=[]), "embedding_shape must be a list of sizes"),
    "a number for a shape": (lambda m: m.update(embedding_shape=4), "embedding_shape must be a list"),
    "an encoder without embedding": (
        lambda m: m.update(embedding_shape=None),
        "'encoder', but embedding_shape is null",
    ),
    "threshold text": (lambda m: m["variants"]["fp32"].update(threshold="1"), "must be a finite number"),
    "threshold missing": (lambda m: m["variants"]["fp32"].pop("threshold"), "threshold is missing"),
    "threshold too large": (lambda m: m["variants"]["fp32"].update(threshold=10**400), "must be a finite number"),
    "no fp32": (lambda m: m.update(variants={}), "must hold 'fp32'"),
    "a graph less": (lambda m: m["variants"]["fp32"]["files"].pop("encoder"), "found no encoder"),
    "graph not listed": (lambda m: m["files"].pop("decoder.onnx"), "does not list under files"),
    "no sha256": (lambda m: m["files"]["README.md"].update(sha256="abc"), "64 hex digits"),
    "negative size": (lambda m: m["files"]["README.md"].update(size=-1), "size must be 0 or more"),
    "key of two lines": (lambda m: m["files"].update({"a\nb": 1}), re.escape(r"a\nb")),
    "a very long key": (lambda m: m["files"].update({"a" * 10_000: 1}), "must be an object"),
}


@pytest.mark.parametrize(("change", "named"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_a_manifest_is_named(content, change, named):
    changed = copy.deepcopy(content)
    change(changed)
    with pytest.raises(BundleError, match=named) as caught:
        parse(changed)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


OPTIONAL = ("segments", "calibration", "series", "image", "unknown")


@pytest.mark.parametrize("key", [name for name in Manifest._fields if name not in OPTIONAL])
def test_every_field_is_needed_and_typed(content, key):
    without = {name: value for name, value in content.items() if name != key}
    with pytest.raises(BundleError, match=f"{key} is missing"):
        parse(without)
    with pytest.raises(BundleError, match=f"{key} must be"):
        parse({**content, key: False})


UNSAFE = ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a/", "", "a\\b", "a\0b", "..", ".", "manifest.json"]


@pytest.mark.parametrize("name", UNSAFE)
def test_file_names_that_could_lead_outside_are_refused(content, name):
    changed = copy.deepcopy(content)
    changed["files"][name] = changed["files"]["README.md"]
    with pytest.raises(BundleError, match=re.escape(f"file name {name!r} does not stay inside")):
        parse(changed)


def test_a_graph_below_a_linked_directory_is_refused(bundle, rewrite):
    elsewhere = bundle.parent / "elsewhere"
    elsewhere.mkdir()
    (bundle / "encoder.onnx").rename(elsewhere / "encoder.onnx")
    (bundle / "fp32").symlink_to(elsewhere)

    def change(manifest):
        manifest["files"]["fp32/encoder.onnx"] = manifest["files"].pop("encoder.onnx")
        manifest["variants"]["fp32"]["files"]["encoder"] = "fp32/encoder.onnx"

    rewrite(bundle, change)
    assert "symbolic link" in refused(bundle, lambda: use_all(bundle))
    (bundle / "fp32").unlink()
    elsewhere.rename(bundle / "fp32")
    use_all(bundle)  # a directory of its own is fine


def test_a_later_minor_version_is_read_and_its_unknown_keys_are_kept(bundle, rewrite, rows, model):
    def change(manifest):
        manifest["format_version"] = "1.7"
        manifest["signature"] = {"key": [1, None]}
        manifest["features"][0]["range"] = [0, 40]
        manifest["files"]["README.md"]["language"] = "en"
        manifest["variants"]["fp32"]["calibration"] = "none"
        manifest["variants"]["fp32"]["files"]["explainer"] = "encoder.onnx"

    rewrite(bundle, change)
    with aetool.load(bundle, provider="cpu") as later:
        np.testing.assert_array_equal(later.score(rows), model.score(rows))
        assert later.graphs == GRAPHS
    text = (bundle / "manifest.json").read_text()
    manifest = Manifest.from_json(text, "here")
    assert manifest.unknown == {"signature": {"key": [1, None]}}
    assert json.loads(manifest.to_json()) == json.loads(text)


def test_without_a_decoder_the_bundle_does_the_rest_and_decode_says_what_it_has(bundle, rewrite, rows, model):
    """A model whose reconstruction is not made of its embedding alone has none."""

    def change(manifest):
        del manifest["variants"]["fp32"]["files"]["decoder"], manifest["files"]["decoder.onnx"]

    rewrite(bundle, change)
    (bundle / "decoder.onnx").unlink()
    with aetool.load(bundle) as less:
        assert less.graphs == ("encoder", "autoencoder", "detector", "explainer")
        np.testing.assert_array_equal(less.encode(rows), model.encode(rows))
        np.testing.assert_array_equal(less.reconstruct(rows), model.reconstruct(rows))
        with pytest.raises(InputError, match=r"has no decoder.*it has encoder, autoencoder, detector"):
            less.decode(model.encode(rows))
    assert all(record.passed for record in verify_bundle(bundle))


def test_without_feature_names_rows_go_by_their_order(bundle, rewrite, rows, model):
    rewrite(bundle, lambda manifest: manifest.update(features=[]))
    with pytest.raises(BundleError, match="feature_names"):  # which the graphs still know
        aetool.load(bundle).score(rows)
    assert parse((bundle / "manifest.json").read_text()).input_shape == (30,)


def test_the_manifest_of_this_repository_is_written_as_it_is_read(exported):
    text = (exported / "manifest.json").read_text()
    assert Manifest.from_json(text, "here").to_json() == text


@pytest.mark.parametrize("name", ["manifest.json", "detector.onnx"])
def test_a_file_with_another_name_is_refused_unless_allowed(bundle, name):
    (bundle.parent / "another name").hardlink_to(bundle / name)
    assert "hard link" in refused(bundle, lambda: use_all(bundle))
    row = np.zeros(aetool.load(bundle, limits=Limits(hard_links=True)).n_features, np.float32)
    assert aetool.load(bundle, limits=Limits(hard_links=True)).score(row) >= 0
    (bundle.parent / "another name").unlink()
    use_all(bundle)


def test_what_is_there_and_empty_is_written_as_it_was_read(content):
    content = copy.deepcopy(content)
    content["segments"] = content["variants"]["fp32"]["inner_values"] = {}
    assert json.loads(parse(json.dumps(content)).to_json()) == content
