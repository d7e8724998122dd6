"""Windows of a log become a bundle that computes them as PyTorch does, dense ones on the core."""

import json
from dataclasses import replace

import numpy as np
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS
from aetool.bundle.manifest import Manifest, Series
from aetool.errors import BundleError
from aetool.export import ExportOptions, export_checkpoint
from aetool.model import TrainingConfig
from aetool.model.windows import for_windows, train_windows
from aetool.runtime.graphs import GraphLoader
from aetool.runtime.settings import DEFAULTS
from aetool.tables.windows import Log, read_runs, windows

WINDOW = 12


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    t = np.arange(900)
    lines = ["t,flow,heat"]
    for i, (a, b) in enumerate(zip(np.sin(t / 5), np.cos(t / 5) * 20 + 300, strict=True)):
        lines.append(f"{i},{a:.4f},{b if i % 7 else '' if i % 2 else b}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module", params=["dense", "conv", "gru"])
def exported(request, log, tmp_path_factory):
    source = Log(log, Series(WINDOW, 3, time="t", gap=5.0))
    source.head()
    how = TrainingConfig(epochs=3, impute="last")
    trained = train_windows(source, how, lambda count: for_windows(WINDOW, 2, count, request.param))
    path = tmp_path_factory.mktemp("bundles") / request.param
    export_checkpoint(trained, path, ExportOptions(name="pump"))
    return request.param, trained, path


def test_a_bundle_of_windows_says_how_a_log_is_cut(exported):
    _, trained, path = exported
    manifest = Bundle.open(path).manifest
    assert manifest.series._replace(row_threshold=None) == trained.series == Series(WINDOW, 3, time="t", gap=5.0)
    assert manifest.input_shape == (WINDOW, 2) and manifest.feature_names == ("flow", "heat")


def test_a_bundle_of_windows_computes_what_pytorch_does(exported, log):
    _, trained, path = exported
    (run,) = read_runs(log, trained.series, trained.names)
    rows = windows(run, WINDOW, 3)
    expected = trained.evaluate(rows)
    with aetool.load(path) as model:
        assert np.isnan(rows).any()
        np.testing.assert_allclose(model.score(rows), expected["score"], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(model.reconstruct(rows), expected["reconstruction"], rtol=1e-3, atol=1e-3)
        spoilt = rows[:1].copy()
        spoilt[:] = np.nan
        assert model.detect(spoilt).tolist() == [True]  # without any value there is nothing to call normal


def test_rows_have_a_threshold_by_the_rule_of_windows(exported):
    _, trained, path = exported
    manifest, known = Bundle.open(path).manifest, trained.held_out.row_scores
    threshold = manifest.series.row_threshold
    assert manifest.threshold["of_rows"]["rows"] == len(known) > 50
    assert manifest.threshold["of_rows"]["flagged_share"] == np.mean(known > threshold) <= 0.02
    card = (path / "README.md").read_text("utf-8")
    assert f"| threshold for rows of a log | {np.float32(threshold)!s} |" in card
    with aetool.load(path) as model:
        assert model.row_threshold == threshold != model.threshold
        model.threshold = 0.5
        assert model.row_threshold == 0.5


def test_a_given_threshold_gives_rows_the_one_with_the_same_share_of_held_out_rows_above(exported, tmp_path):
    kind, trained, _ = exported
    if kind != "dense":
        pytest.skip("one will do")
    given = float(np.quantile(trained.held_out.scores, 0.7))
    manifest = export_checkpoint(trained, tmp_path / "given", ExportOptions(threshold=given)).bundle.manifest
    shares = [
        np.mean(trained.held_out.scores > manifest.variants["fp32"].threshold),
        np.mean(trained.held_out.row_scores > manifest.series.row_threshold),
    ]
    assert shares == pytest.approx([0.3, 0.3], abs=0.02)


def test_a_checkpoint_without_scores_of_rows_gives_a_bundle_as_before(exported, tmp_path):
    kind, trained, newer = exported
    if kind != "dense":
        pytest.skip("one will do")
    older = replace(trained, held_out=replace(trained.held_out, row_scores=None))
    manifest = export_checkpoint(older, tmp_path / "older").bundle.manifest
    assert "row_threshold" not in manifest.to_dict()["series"] and "of_rows" not in manifest.threshold
    assert manifest.id != Bundle.open(newer).manifest.id  # its rows get other verdicts
    assert "row_scores" not in json.loads((tmp_path / "older" / "baseline.json").read_text())


def test_dense_windows_run_on_the_core(exported):
    kind, _, path = exported
    loader = GraphLoader(Bundle.open(path), "fp32", "native", None, DEFAULTS, DEFAULT_LIMITS)
    on_core = {graph: loader.on_core(graph) for graph in loader.graphs}
    assert on_core == dict.fromkeys(loader.graphs, kind == "dense")


def test_a_manifest_whose_window_is_not_its_shape_is_refused(exported):
    content = json.loads((exported[2] / "manifest.json").read_text())
    content["series"]["window"] += 1
    with pytest.raises(BundleError, match=r"\$\.series has windows of 13 rows, .*input_shape is \(12, 2\)"):
        Manifest.from_json(json.dumps(content), "manifest.json")
    content.pop("series")
    with pytest.raises(BundleError, match=r"\$\.features must be empty where rows are of shape \(12, 2\)"):
        Manifest.from_json(json.dumps(content), "manifest.json")
