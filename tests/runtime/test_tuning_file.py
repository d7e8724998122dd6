"""The tuning file beside a bundle: used where it holds, ignored elsewhere, refused where it is damaged."""

import builtins
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aetool
from aetool import BundleError, InputError
from aetool.bundle.bundle import Bundle, tuning_file
from aetool.runtime import tuning
from aetool.runtime.machine import usable_cores
from aetool.runtime.settings import RunSettings
from aetool.runtime.tuning import manifest_digest, this_machine

METHODS = ("encode", "reconstruct", "score", "detect")


@pytest.fixture
def two(bundle, rewrite):
    """The bundle with its graphs as a second precision too."""

    def add(manifest):
        manifest["variants"]["fp16"] = manifest["variants"]["fp32"]

    rewrite(bundle, add)
    return bundle


@pytest.fixture
def document(two):
    """What a tuning file for `two` on this machine holds."""
    opened = Bundle.open(two)
    return {
        "kind": "aetool.tuning",
        "format_version": 1,
        "aetool": aetool.__version__,
        "machine": this_machine("cpu")._asdict(),
        "bundle": {"name": "x", "id": opened.manifest.id, "manifest_sha256": manifest_digest(opened)},
        "choice": {
            "provider": "cpu",
            "precision": "fp16",
            "settings": {"direct_threads": 1, "workers": 2, "chunk_rows": 100, "spin_us": 0},
        },
        "trials": [],
    }


@pytest.fixture
def write(two):
    """Write the file beside `two`; gives the bundle."""

    def apply(content) -> Path:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        Path(tuning_file(two)).write_bytes(text)
        return two

    return apply


def test_without_a_file_nothing_is_tuned_and_one_look_is_all_it_costs(exported, monkeypatch):
    looked, opened = [], []
    open_ = builtins.open
    for look in (os.stat, os.lstat):
        monkeypatch.setattr(
            os, look.__name__, lambda path, look=look, **k: looked.append(Path(path).name) or look(path, **k)
        )
    monkeypatch.setattr(builtins, "open", lambda path, *a, **k: opened.append(path) or open_(path, *a, **k))
    with aetool.load(exported) as model:
        assert model.tuning is None and (model.precision, model.provider) == ("fp32", "cpu")
    assert looked.count("breast-cancer.tuning.json") == 1
    assert opened == []


def test_a_file_made_here_for_this_bundle_is_used(write, document):
    with aetool.load(write(document)) as model:
        assert (model.precision, model.provider) == ("fp16", "cpu")
        assert model.tuning.choice.settings == RunSettings(1, 2, 100, 0)
        assert (
            model.tuning.words
            == "bundle.tuning.json: fp16 on cpu, 1 thread, 2 workers, 100 rows a chunk, no spinning"
        )


def test_what_it_sets_reaches_the_sessions(write, document, many):
    document["choice"]["settings"] = {"direct_threads": 3, "workers": 2, "chunk_rows": 100, "spin_us": 0}
    with aetool.load(write(document)) as model:
        model.score(many)
        graph = model._graphs["score alone"]
        assert (graph._largest_chunk, graph._workers) == (100, 2)
        assert graph.direct.get_session_options().intra_op_num_threads == 3
        options = graph.direct.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_keys_that_it_does_not_know_are_nothing_to_it(write, document):
    document |= {"later": [1]}
    document["choice"] |= {"later": {}}
    document["choice"]["settings"] |= {"later": 1}
    document["machine"] |= {"later": None}
    assert aetool.load(write(document)).tuning.choice is not None


def test_settings_that_it_leaves_out_are_the_defaults(write, document):
    document["choice"]["settings"] = {}
    assert aetool.load(write(document)).tuning.choice.settings == RunSettings()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"precision": "fp32"}, "chose fp16, fp32 was asked for"),
        ({"provider": "openvino"}, "openvino was asked for"),
    ],
)
def test_what_the_user_names_wins(write, document, arguments, told, monkeypatch):
    found = tuning.find_tuning(
        Bundle.open(write(document)), *(arguments.get(k, "auto") for k in ("provider", "precision"))
    )
    assert found.choice is None and told in found.ignored
    if "precision" in arguments:
        with aetool.load(Path(tuning_file(write(document))).with_name("bundle"), **arguments) as model:
            assert model.precision == "fp32" and model.tuning.choice is None


def test_naming_what_it_chose_keeps_its_settings(write, document):
    with aetool.load(write(document), provider="cpu", precision="fp16") as model:
        assert model.tuning.choice.settings.chunk_rows == 100


def test_threads_of_the_user_win_over_its_threads_and_leave_the_rest(write, document, many):
    with aetool.load(write(document), intra_op_num_threads=5) as model:
        model.score(many)
        graph = model._graphs["score alone"]
        assert graph.direct.get_session_options().intra_op_num_threads == graph._workers == 5
        assert graph._largest_chunk == 100 and model.precision == "fp16"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(aetool="99.0"), "made with aetool 99.0"),
        (lambda d: d.update(aetool="99.0", choice=None, machine=3), "made with aetool 99.0"),
        (lambda d: d["bundle"].update(id="other"), "another bundle"),
        (lambda d: d["bundle"].update(manifest_sha256="0" * 64), "another bundle"),
        (lambda d: d["machine"].update(cpu="Z80"), "cpu Z80, here "),
        (lambda d: d["machine"].update(cores=d["machine"]["cores"] + 1), "cores "),
        (lambda d: d["machine"].update(cpu_flags=["avx9"]), "cpu flags differ: "),
        (lambda d: d["machine"]["versions"].update(onnxruntime="0.1"), "onnxruntime 0.1, here "),
    ],
)
def test_one_from_elsewhere_is_ignored_and_says_why(write, document, change, told, rows):
    change(document)
    with aetool.load(write(document)) as model:
        assert model.tuning.choice is None and told in model.tuning.ignored
        assert model.precision == "fp32" and len(model.score(rows)) == len(rows)


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_file_cut_short_is_an_error_that_names_it_and_the_remedy(write, document, cut):
    path = write(json.dumps(document).encode()[:cut])
    with pytest.raises(BundleError, match=r"bundle\.tuning\.json: .*; run aetool tune again, or delete the file"):
        aetool.load(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("kind", "aetool.bench"),
        ("kind", None),
        ("aetool", 1),
        ("machine", []),
        ("machine.cores", "2"),
        ("machine.cores", 0),
        ("machine.cpu_flags", {}),
        ("machine.versions", {"onnxruntime": 1}),
        ("bundle", None),
        ("bundle.manifest_sha256", "short"),
        ("choice", "fast"),
        ("choice.provider", 1),
        ("choice.settings", [1]),
        ("choice.settings.direct_threads", 0),
        ("choice.settings.direct_threads", True),
        ("choice.settings.workers", 2.5),
        ("choice.settings.workers", 100_000),
        ("choice.settings.chunk_rows", -1),
        ("choice.settings.chunk_rows", 1 << 40),
        ("choice.settings.spin_us", None),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_file_and_the_remedy(write, document, place, value):
    *parents, last = place.split(".")
    inside = document
    for name in parents:
        inside = inside[name]
    inside[last] = value
    path = write(document)
    with pytest.raises(BundleError, match=r"bundle\.tuning\.json: .*; run aetool tune again, or delete the file"):
        aetool.load(path)


@pytest.mark.parametrize("place", ["kind", "aetool", "machine", "bundle", "choice"])
def test_a_missing_key_is_an_error(write, document, place):
    del document[place]
    with pytest.raises(BundleError, match=rf"\$\.{place} is missing"):
        aetool.load(write(document))


@pytest.mark.parametrize("text", [b"[]", b"NaN", b'{"kind": 1e999}', b'{"a": 1, "a": 1}', b"\xff", b"[" * 10_000])
def test_what_is_no_object_is_an_error(write, text):
    with pytest.raises(BundleError, match=r"bundle\.tuning\.json"):
        aetool.load(write(text))


def test_a_file_too_large_is_an_error(write, monkeypatch):
    monkeypatch.setattr(tuning, "MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="larger than"):
        aetool.load(write(b" " * 1001))


def test_what_is_no_file_is_an_error(two):
    Path(tuning_file(two)).mkdir()
    with pytest.raises(BundleError, match="not a regular file; run aetool tune again"):
        aetool.load(two)


def test_a_name_too_long_for_a_tuning_file_has_none(bundle):
    long = bundle.rename(bundle.with_name("b" * 250))
    assert aetool.load(long).tuning is None


def test_another_bundle_in_its_place_does_not_take_it(write, document, rewrite):
    path = write(document)
    rewrite(path, lambda manifest: manifest.update(created="2031-01-01T00:00:00Z"))
    assert aetool.load(path).tuning.ignored == "made for another bundle"


def test_a_pickled_session_is_tuned_where_it_wakes(write, document):
    path = write(document)
    sent = pickle.dumps(aetool.load(path))
    assert pickle.loads(sent).precision == "fp16"
    Path(tuning_file(path)).unlink()
    assert pickle.loads(sent).precision == "fp32"


def test_with_settings_of_ones_own_the_file_is_not_looked_for(write, many):
    path = write(b"broken")
    with aetool.AutoencoderSession(path, settings=RunSettings(chunk_rows=80)) as model:
        model.score(many)
        assert model.tuning is None and model._graphs["detector"]._largest_chunk == 80
        assert pickle.loads(pickle.dumps(model))._arguments == model._arguments


def test_it_starts_no_process_and_reads_the_processor_once(write, document, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a process was started")

    tuning.cpu.cache_clear()
    opened = []
    open_ = builtins.open
    monkeypatch.setattr(builtins, "open", lambda path, *a, **k: opened.append(path) or open_(path, *a, **k))
    monkeypatch.setattr("os.fork", refused)
    monkeypatch.setattr("subprocess.Popen", refused)
    path = write(document)
    for _ in range(3):
        assert aetool.load(path).tuning.choice is not None
    assert opened.count("/proc/cpuinfo") == 1


@settings(max_examples=30)
@given(
    direct_threads=st.none() | st.integers(1, 4),
    workers=st.none() | st.integers(1, 4),
    chunk_rows=st.none() | st.integers(1, 6000),
    spin_us=st.sampled_from([0, 1, 100, 2000]),
    precision=st.just("fp32"),
)
def test_results_are_the_same_bits_with_every_setting(exported, many, expected, precision, **chosen):
    with aetool.AutoencoderSession(
        exported, provider="cpu", precision=precision, settings=RunSettings(**chosen)
    ) as model:
        for rows in (many, many[:300], many[:9], many[:1]):
            for method in METHODS:
                np.testing.assert_array_equal(getattr(model, method)(rows), expected[method][: len(rows)])


@pytest.fixture(scope="module")
def expected(exported, many):
    with aetool.load(exported, provider="cpu") as model:
        return {method: getattr(model, method)(many) for method in METHODS}


@pytest.mark.parametrize(
    "wrong", [{"direct_threads": 0}, {"workers": 1.0}, {"chunk_rows": True}, {"spin_us": None}, {"spin_us": -1}]
)
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        RunSettings(**wrong)


def test_the_machine_is_known_by_what_decides_speed():
    found = this_machine("cpu")
    assert found.cpu and found.cores == usable_cores() and set(found.versions) == {"onnxruntime"}
    assert "onnxruntime-ep-openvino" in this_machine("openvino").versions
    assert found.difference(found) == ""


def test_without_an_arena_memory_is_given_back_and_the_bits_are_the_same(exported, many):
    kept, given_back = (
        aetool.AutoencoderSession(exported, settings=RunSettings(memory_arena=arena, native_rows=0))
        for arena in (True, False)
    )
    np.testing.assert_array_equal(kept.score(many), given_back.score(many))
    for model, arena in ((kept, True), (given_back, False)):
        assert model._graphs["score alone"].direct.get_session_options().enable_cpu_mem_arena is arena


def test_an_arena_is_there_or_not():
    with pytest.raises(InputError, match="memory_arena: expected true or false, found 1"):
        RunSettings(memory_arena=1)


def test_a_bundle_that_is_the_working_directory_has_its_file_beside_it(two, monkeypatch):
    monkeypatch.chdir(two)
    assert tuning_file(".") == tuning_file(b".") == tuning_file(two)
