"""Tuning a real bundle, with real processes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from variants import add_precision

import aetool
from aetool.bench.result import document_of
from aetool.bundle.bundle import Bundle, tuning_file
from aetool.bundle.schema import to_plain
from aetool.errors import BenchmarkError, InputError, OutputError
from aetool.runtime.settings import RunConfig, RunSettings
from aetool.tune import _run as run
from aetool.tune import _search as search
from aetool.tune._candidates import RunCandidate, default_of
from aetool.tune._run import TuningPlan, tune
from aetool.tune._search import RunSetup, race
from aetool.tune.result import read_tuning

SHORT = {"seconds": 0.5}
NO_ROUNDS = {"name": "final", "rows": 1, "seconds": [], "default_seconds": [], "ratio": 1.0}


@pytest.fixture
def choose(monkeypatch):
    """choose(name): the search gives that candidate, without a race."""

    def apply(name):
        def chosen(purpose, default, records, *_, **__):
            for record in records:
                record.dropped = "not asked for"
            record = next((one for one in records if one.candidate.name == name), None)
            if record is not None:
                record.dropped = ""
                record.races = [search.Race("final", 1, (0.5, 0.4), (1.0, 1.0), 0.45)]
            return record

        monkeypatch.setattr(run, "search", chosen)

    return apply


def test_what_it_writes_is_what_load_uses(two):
    result = tune(two, TuningPlan("latency", **SHORT))
    assert read_tuning(Path(tuning_file(two))) == result
    with aetool.load(two) as model:
        assert model.tuning.choice == result.choice and model.precision == result.choice.precision
    assert result.trials[0].name == "default" and len(result.trials) > 3
    assert [trial for trial in result.trials if not trial.dropped] != []
    assert all(trial.dropped for trial in result.trials if trial.choice != result.choice)


def test_many_rows_are_tuned_too(two):
    result = tune(two, TuningPlan("throughput", rows=5000, **SHORT), dry_run=True)
    assert result.rows == 5000 and any(trial.races for trial in result.trials)


def test_a_dry_run_writes_nothing(two, choose):
    choose("fp16")
    before = sorted(two.parent.rglob("*"))
    assert tune(two, TuningPlan("latency"), dry_run=True).choice.precision == "fp16"
    assert sorted(two.parent.rglob("*")) == before


def test_an_older_file_is_replaced_when_told_only(two, choose):
    choose("fp16")
    tune(two, TuningPlan("latency"))
    choose(None)
    with pytest.raises(OutputError, match="exists already"):
        tune(two, TuningPlan("latency"))
    assert aetool.load(two).precision == "fp16"
    assert tune(two, TuningPlan("latency"), overwrite=True).speedup == 1.0
    assert aetool.load(two).precision == "fp32"


def test_the_bundle_itself_is_left_as_it_was(two, choose):
    choose("fp16")
    tune(two, TuningPlan("latency"))
    Bundle.open_whole(two)


def test_a_precision_that_was_made_and_wins_is_added_to_the_bundle(plain, choose, golden_rows):
    def make(bundle, copy):
        add_precision(shutil.copytree(bundle, copy), "int8")

    choose("int8")
    options = {"rows": golden_rows, "makers": {"int8": make}}
    tune(plain, TuningPlan("latency"), dry_run=True, **options)
    assert set(Bundle.open_whole(plain).manifest.variants) == {"fp32"}
    tune(plain, TuningPlan("latency"), **options)
    assert set(Bundle.open_whole(plain).manifest.variants) == {"fp32", "int8"}
    with aetool.load(plain) as model:
        assert model.precision == "int8" and len(model.score(golden_rows)) == len(golden_rows)


def test_one_that_was_made_and_loses_is_not_added(plain, choose, golden_rows):
    def make(bundle, copy):
        add_precision(shutil.copytree(bundle, copy), "int8")

    choose(None)
    tune(plain, TuningPlan("latency"), rows=golden_rows, makers={"int8": make})
    assert set(Bundle.open_whole(plain).manifest.variants) == {"fp32"}
    assert aetool.load(plain).tuning.choice is not None


def test_the_default_is_not_tuned_by_an_older_file(two, choose):
    choose("fp16")
    tune(two, TuningPlan("latency"))
    contestant = default_of("cpu", two).contestant("score")
    assert contestant.arguments["settings"] == to_plain(RunSettings())
    with aetool.AutoencoderSession(two, precision="fp32", settings=RunSettings()) as model:
        assert model.tuning is None


def test_a_candidate_that_computes_something_else_is_refused_before_it_is_timed(two, tmp_path, golden_rows):
    np.save(tmp_path / "rows.npy", golden_rows)
    default = default_of("cpu", two)
    with aetool.load(two) as model:
        right = {"score": model.score(golden_rows)}
    wrong = {"score": right["score"] * 2}
    other = RunCandidate("other", RunConfig("cpu", "fp16", RunSettings()), two)
    track = RunSetup("score", tmp_path / "rows.npy", {}, {"fp32": right, "fp16": wrong}, lambda _: None)
    found, refused = race("stage 1", default, [other], track, search.Load(), 1, 0)
    assert found == {} and "differs from the others" in refused["other"]
    with pytest.raises(BenchmarkError, match="default"):
        race(
            "stage 1",
            default,
            [],
            RunSetup("score", tmp_path / "rows.npy", {}, {"fp32": wrong}, print),
            search.Load(),
            1,
            0,
        )


def test_a_graph_that_is_not_there_is_an_error(two):
    manifest = json.loads((two / "manifest.json").read_text())
    for variant in manifest["variants"].values():
        del variant["files"]["encoder"], variant["files"]["decoder"]
    manifest["embedding_shape"] = None
    for name in [name for name in manifest["files"] if name.split("/")[-1] in ("encoder.onnx", "decoder.onnx")]:
        del manifest["files"][name]
        (two / name).unlink()
    (two / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has no encoder, which encode needs"):
        tune(two, TuningPlan("latency", graph="encode"))


@pytest.mark.parametrize(
    "wrong", [{"purpose": "speed"}, {"graph": "x"}, {"rows": 0}, {"seconds": 0}, {"seconds": float("nan")}]
)
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TuningPlan(**{"purpose": "latency", **wrong})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(kind="aetool.bench"), "kind 'aetool.tuning' expected"),
        (lambda d: d.update(format_version=2), "format_version 1 expected"),
        (lambda d: d.pop("reason"), r"\$.reason is missing"),
        (lambda d: d.update(later=1), r"\$.later is unknown"),
        (lambda d: d["choice"]["settings"].update(chunk_rows=-1), "chunk_rows"),
        (lambda d: d["trials"].clear(), r"\$.trials must be"),
        (lambda d: d["trials"][1].update(races=[NO_ROUNDS]), "rounds of more than 0 seconds"),
    ],
)
def test_a_damaged_result_is_refused_with_the_place(two, choose, tmp_path, change, told):
    choose("fp16")
    document = json.loads(json.dumps(document_of(tune(two, TuningPlan("latency"), dry_run=True))))
    change(document)
    (tmp_path / "t.json").write_text(json.dumps(document))
    with pytest.raises(BenchmarkError, match=told):
        read_tuning(tmp_path / "t.json")
