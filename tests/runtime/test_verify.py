"""A bundle tells by itself whether it computes here what it computed where it was made."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aetool
from aetool import BundleError, InputError, Limits, ProviderError
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.checks import verify
from aetool.checks.verify import verify_bundle, verify_rows

NEEDED = ("features", "embedding", "reconstruction", "score", "is_anomaly", "contribution")


def test_every_output_of_every_graph_agrees_with_the_golden_vectors(exported, every_output):
    records = verify_bundle(exported, provider="cpu")
    assert [(record.graph, record.output) for record in records] == every_output
    assert all(record.passed for record in records)
    assert all(record.max_scaled <= 1e-5 for record in records)
    assert [record.flipped for record in records if record.output == "is_anomaly"] == [0]


def test_one_row_at_a_time_agrees_with_all_at_once(exported, many, every_output):
    records = verify_rows(exported, many)
    assert [(record.graph, record.output) for record in records] == every_output
    assert all(record.passed for record in records)


def test_no_rows_agree_with_no_rows(exported, many):
    assert all(record.passed for record in verify_rows(exported, many[:0]))
    with pytest.raises(InputError, match="features: expected shape"):
        verify_rows(exported, many[:, :3])


@pytest.mark.parametrize("name", NEEDED)
def test_a_wrong_golden_value_is_a_failed_record(bundle, rewrite, golden, npz, name):
    changed = {key: value.copy() for key, value in golden.items()}
    changed[name][0] = ~changed[name][0] if name == "is_anomaly" else changed[name][0] + 100
    rewrite(bundle, golden=npz(**changed))
    failed = {record.output for record in verify_bundle(bundle) if not record.passed}
    if name == "features":
        assert failed >= {"embedding", "score"}
    elif name == "embedding":  # what the decoder is given, too
        assert failed == {"embedding", "reconstruction"}
    else:
        assert failed == {name}


def test_a_precision_of_its_own_is_checked_with_its_own_threshold(bundle, rewrite, every_output):
    def add(manifest):
        manifest["variants"]["int8"] = manifest["variants"]["fp32"]

    rewrite(bundle, add)
    records = verify_bundle(bundle, provider="cpu")
    assert len(records) == 2 * len(every_output)
    assert {record.rows for record in records} == {"golden", "golden (int8)"}


TOLERANCES = {
    "embedding": 0.1,
    "reconstruction": 0.1,
    "score": 0.1,
    "rank_correlation": 0.5,
    "flips": 0.1,
    "contribution": 0.1,
    "distance": 0.1,
    "segments": 0.1,
    "new": 1,
}


@pytest.mark.parametrize(("name", "value"), [("score", 1e-12), ("rank_correlation", 1.5), ("embedding", 1e-12)])
def test_a_precision_is_held_to_the_tolerances_of_its_own(bundle, rewrite, name, value):
    def add(manifest, **changed):
        manifest["variants"]["int8"] = {**manifest["variants"]["fp32"], "tolerances": {**TOLERANCES, **changed}}

    rewrite(bundle, add)
    records = verify_bundle(bundle)
    assert all(record.passed for record in records)
    assert {record.tolerance for record in records if record.rows == "golden (int8)"} == {0.1}
    assert json.loads(Bundle.open(bundle).manifest.to_json())["variants"]["int8"]["tolerances"] == TOLERANCES
    rewrite(bundle, lambda manifest: add(manifest, **{name: value}))
    failed = {
        (record.output, record.rows) for record in verify_bundle(bundle, provider="cpu") if not record.passed
    }
    assert failed == {("score" if name == "rank_correlation" else name, "golden (int8)")}


@pytest.mark.parametrize("wrong", [{}, [], None, {**TOLERANCES, "flips": "few"}])
def test_tolerances_that_are_none_are_a_bundle_error(bundle, rewrite, wrong):
    rewrite(bundle, lambda manifest: manifest["variants"]["fp32"].update(tolerances=wrong))
    with pytest.raises(BundleError, match=r"variants\.fp32\.tolerances.* (must be|is missing)"):
        verify_bundle(bundle)


def archive_of(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(value):
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


FAULTY = {
    "empty": lambda g, npz: b"",
    "no archive": lambda g, npz: b"PK" * 500,
    "one array": lambda g, npz: npy(g["features"]),
    "a member that is no array": lambda g, npz: archive_of(**{"features.npy": b"x"}),
    "a pickle": lambda g, npz: npz(**{**g, "score": np.array([{}] * len(g["score"]), object)}),
    "an array of impossible size": lambda g, npz: archive_of(
        **{"features.npy": npy(g["features"]).replace(b"(84, 30)", b"(9**99,)")}
    ),
    "an array of great size": lambda g, npz: archive_of(
        **{"features.npy": npy(g["features"]).replace(b"(84, 30), }    ", b"(999999999999,)}")}
    ),
    "an output less": lambda g, npz: npz(**{k: v for k, v in g.items() if k != "score"}),
    "features too narrow": lambda g, npz: npz(**{**g, "features": g["features"][:, 1:]}),
    "fewer rows of one": lambda g, npz: npz(**{**g, "embedding": g["embedding"][1:]}),
    "scores of rank 2": lambda g, npz: npz(**{**g, "score": g["score"][:, None]}),
    "text": lambda g, npz: npz(**{**g, "score": g["score"].astype(str)}),
    "no rows": lambda g, npz: npz(**{k: v[:0] for k, v in g.items()}),
}


@pytest.mark.parametrize("make", FAULTY.values(), ids=FAULTY)
def test_golden_vectors_that_are_none_are_a_bundle_error(bundle, rewrite, golden, npz, make):
    rewrite(bundle, golden=make(golden, npz))
    with pytest.raises(BundleError, match=r"golden\.npz: .*export the bundle again") as caught:
        verify_bundle(bundle)
    assert str(caught.value).isprintable()


@settings(max_examples=80)
@given(data=st.data())
def test_any_damage_to_the_golden_vectors_is_a_bundle_error_or_harmless(bundle, rewrite, golden, npz, data):
    content = bytearray(npz(**{name: value[:2] for name, value in golden.items()}))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    rewrite(bundle, golden=bytes(content))
    opened = Bundle.open(bundle)
    try:
        found = read_golden(opened)
    except BundleError as error:
        assert str(error).isprintable()
    else:
        assert set(NEEDED) <= set(found)


def test_a_bundle_that_is_replaced_during_its_test_is_not_judged_by_the_old_vectors(
    exported, bundle, rewrite, monkeypatch
):
    rewrite(bundle, lambda manifest: manifest.update(created="2030-01-01T00:00:00Z"))
    monkeypatch.setattr(verify, "load", lambda _, **options: aetool.load(bundle, **options))
    with pytest.raises(BundleError, match="was replaced by another bundle"):
        verify_bundle(exported)


def test_an_unknown_provider_is_a_provider_error(exported):
    with pytest.raises(ProviderError):
        verify_bundle(exported, provider="tpu")


def test_the_session_tells_what_its_bundle_says_of_itself(exported, model):
    assert model.manifest == Bundle.open(exported).manifest
    assert (model.name, model.n_features, model.embedding_dim) == ("breast-cancer", 30, 120)
    assert model.threshold == model.manifest.variants["fp32"].threshold
    assert model.feature_names == model.manifest.feature_names
    assert isinstance(model, aetool.AutoencoderSession)


ODD = {
    "text": lambda n: np.array(["x"] * n),
    "bytes": lambda n: np.array([b"x"] * n),
    "dates": lambda n: np.zeros(n, "M8[s]"),
    "durations": lambda n: np.zeros(n, "m8[ns]"),
    "complex": lambda n: np.zeros(n, np.complex64),
    "wider than 8 bytes": lambda n: np.zeros(n, np.longdouble),
    "records": lambda n: np.zeros(n, [("a", "f4"), ("b", "i2")]),
    "nothing": lambda n: np.zeros(n, "V16"),
}


@pytest.mark.parametrize("array", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["score", "is_anomaly", "alternative"])
def test_a_golden_array_of_an_odd_type_is_a_bundle_error(bundle, rewrite, golden, npz, name, array):
    rewrite(bundle, golden=npz(**{**golden, name: array(len(golden["score"]))}))
    with pytest.raises(
        BundleError, match=rf"{name} must hold numbers of up to 8 bytes, found .*export the bundle"
    ):
        read_golden(Bundle.open(bundle))


@pytest.mark.parametrize("array", ODD.values(), ids=ODD)
def test_a_golden_array_of_a_later_version_is_ignored_whatever_it_holds(bundle, rewrite, golden, npz, array):
    rewrite(bundle, golden=npz(**golden, later=array(3)))
    assert read_golden(Bundle.open(bundle)).keys() == golden.keys()
    assert all(record.passed for record in verify_bundle(bundle))


def packed_zeros(count):
    """golden.npz of an array of `count` zeros, made without them."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("more.npy", "w", force_zip64=True) as member,
    ):
        header = {"shape": (count,), "fortran_order": False, "descr": "|u1"}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(0, count, 1 << 24):
            member.write(bytes(1 << 24))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(), "compression_ratio"), (Limits(golden_bytes=1 << 20), "golden_bytes")],
    ids=["a bomb", "more than the caller allows"],
)
def test_golden_rows_are_bounded_before_they_are_unpacked(bundle, rewrite, limits, name):
    rewrite(bundle, golden=packed_zeros(1 << 28))
    opened = Bundle.open(bundle, limits=limits)
    tracemalloc.start()
    try:
        with pytest.raises(
            BundleError, match=rf"golden\.npz: .*--limit {name}=NUMBER, in Python limits=Limits\({name}="
        ):
            read_golden(opened)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(BundleError, match=name):
        verify_bundle(bundle, limits=limits)
