"""Bundles with categories: what was trained, computed the same by everybody who feeds them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import sha256
from aetool.checks.parity import compare_graph
from aetool.checks.verify import verify_bundle, verify_rows
from aetool.errors import BundleError, InputError, VerificationError
from aetool.export import ExportOptions, export_checkpoint, verify_against
from aetool.export._checkpoint import DoublePipeline, FoldedPipeline, _leanest
from aetool.export._export_input import expected_outputs
from aetool.model import AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train
from aetool.model.pipeline import evaluate_rows
from aetool.tables import table_from_columns

Columns = dict[str, list[Any]]


@pytest.fixture(scope="module")
def model(mixed_bundle: Path) -> aetool.AutoencoderSession:
    return aetool.load(mixed_bundle, provider="cpu")


@pytest.fixture(scope="module")
def indexes(mixed: Columns) -> np.ndarray:
    """`mixed` as an app in another language feeds it, made here by hand."""
    places = {
        "job": ["clerk", "nurse", "pilot", "smith, or so"],
        "region": [10, 20, 3],
        "owner": [False, True],
    }
    columns = [[places[n].index(v) if n in places else v for v in column] for n, column in mixed.items()]
    return np.array(columns, np.float32).T.copy()


def by_hand(trained: TrainedAutoencoder, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The definition once more, in numpy and float64, one column at a time."""
    weights = {name: value.double().numpy() for name, value in trained.network.state_dict().items()}
    sizes = [len(trained.categories.get(name, ())) for name in trained.names]
    parts = []
    for column, size in zip(rows.astype(np.float64).T, sizes, strict=True):
        parts += [column == i for i in range(size)] if size else [column]
    mean, scale = (np.float64(part) for part in (trained.statistics.mean, trained.statistics.scale))
    z = (np.stack(parts, axis=1) - mean) / scale
    hidden = z @ weights["encoder.0.weight"].T + weights["encoder.0.bias"]
    embedding = np.where(hidden > 0, hidden, 0.01 * hidden)
    y = embedding @ weights["decoder.0.weight"].T + weights["decoder.0.bias"]
    raw, found, start = y * scale + mean, [], 0
    for size in sizes:
        block = raw[:, start : start + (size or 1)]
        found.append(block.argmax(axis=1) if size else block[:, 0])
        start += size or 1
    apart = trained.prototypes.weight * ((z[:, None] - trained.prototypes.rows) ** 2).mean(axis=2)
    return {
        "embedding": embedding,
        "reconstruction": np.stack(found, axis=1),
        "score": ((z - y) ** 2).mean(axis=1) + apart.min(axis=1),
    }


def test_golden_vectors_and_graphs_agree_with_numpy(
    mixed_trained: TrainedAutoencoder, mixed_bundle: Path, model: aetool.AutoencoderSession, indexes: np.ndarray
) -> None:
    golden = dict(np.load(mixed_bundle / "golden.npz"))
    expected = by_hand(mixed_trained, golden["features"])
    for name, values in expected.items():
        np.testing.assert_allclose(golden[name], values, rtol=1e-9, atol=1e-12)
    odd = indexes.copy()
    odd[:, 0] = np.resize([-1, 4, np.nan, 1e30, 0.5, np.inf], len(odd))
    for rows in (indexes, odd):
        expected = by_hand(mixed_trained, rows)
        np.testing.assert_allclose(model.score(rows), expected["score"], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(model.encode(rows), expected["embedding"], rtol=1e-3, atol=1e-4)
        found = model.reconstruct(rows)
        np.testing.assert_array_equal(found[:, [0, 2, 4]], expected["reconstruction"][:, [0, 2, 4]])
        np.testing.assert_allclose(found, expected["reconstruction"], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(model.detect(rows), expected["score"] > model.threshold)


def test_every_kind_of_table_and_the_bare_graph_give_the_same(
    mixed: Columns, mixed_bundle: Path, model: aetool.AutoencoderSession, indexes: np.ndarray
) -> None:
    expected = model.score(indexes)
    shuffled = {name: mixed[name] for name in reversed(mixed)}
    frame = pd.DataFrame(shuffled)
    codes_as_text = {**mixed, "region": [f"{code}.0" for code in mixed["region"]]}
    for table in (
        mixed,
        shuffled,
        codes_as_text,
        frame,
        frame.astype({"job": "category", "region": "float64", "owner": "boolean"}),
        frame.convert_dtypes(),
        pa.table(shuffled),
        pa.Table.from_pandas(frame.astype({"job": "category"})),
        frame.to_records(index=False),
    ):
        np.testing.assert_array_equal(model.score(table), expected)
    one = model.score({name: column[7] for name, column in mixed.items()})
    assert one.shape == () and one == pytest.approx(expected[7], rel=1e-5)
    bare = onnxruntime.InferenceSession(mixed_bundle / "detector.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(bare.run(["score"], {"features": indexes})[0], expected, rtol=1e-6)
    known = json.loads(bare.get_modelmeta().custom_metadata_map["categories"])
    assert {name: tuple(texts) for name, texts in known.items()} == dict(model.categories)


def test_unseen_and_missing_categories_score_finite(mixed: Columns, model: aetool.AutoencoderSession) -> None:
    clean = {name: column[:4] for name, column in mixed.items()}
    odd = {**clean, "job": ["astronaut", None, "", "NA"], "region": [999, None, np.nan, 3]}
    score = model.score(odd)
    assert np.isfinite(score).all() and (score > model.score(clean)).all()
    assert np.isnan(model.score({**clean, "size": [np.nan] * 4})).all()
    assert model.detect({**clean, "size": [np.nan] * 4}).all()


def test_reconstructions_are_told_by_name(mixed: Columns, model: aetool.AutoencoderSession) -> None:
    found = model.to_columns(model.reconstruct(mixed))
    assert list(found) == list(mixed)
    assert np.mean(found["job"] == np.array(mixed["job"])) > 0.95
    assert set(found["region"]) <= {"10", "20", "3"} and found["size"].dtype == np.float32
    odd = model.to_columns([[-1, 0.5, np.nan, 70, 1], [3, 0.5, 2, 70, 0.5]])
    assert odd["job"].tolist() == ["", "smith, or so"] and odd["region"].tolist() == ["", "3"]
    assert odd["owner"].tolist() == ["true", ""]
    nothing = {**{name: column[:1] for name, column in mixed.items()}, "size": [np.nan]}
    assert model.to_columns(model.reconstruct(nothing))["job"].tolist() == [""]


def test_text_in_a_column_of_numbers_is_still_refused(mixed: Columns, model: aetool.AutoencoderSession) -> None:
    with pytest.raises(InputError, match="column 'size': expected real numbers"):
        model.score({**mixed, "size": mixed["job"]})
    with pytest.raises(InputError, match="column 'job': text or codes expected, found bytes"):
        model.score({**mixed, "job": [b"clerk", None] * 120})


def test_a_bundle_verifies_itself_and_against_its_checkpoint(
    mixed_trained: TrainedAutoencoder, mixed_bundle: Path, indexes: np.ndarray
) -> None:
    records = [
        *verify_bundle(mixed_bundle, provider="cpu"),
        *verify_rows(mixed_bundle, indexes, provider="cpu"),
        *verify_against(mixed_bundle, mixed_trained, indexes, provider="cpu"),
    ]
    assert all(record.passed for record in records) and not any(record.flipped for record in records)


def test_verification_tells_other_categories_apart(mixed: Columns, mixed_bundle: Path) -> None:
    other = table_from_columns(
        {**mixed, "job": [text.upper() for text in mixed["job"]]}, categorical=["auto", "region"]
    )
    with pytest.raises(InputError, match="other categories"):
        verify_against(mixed_bundle, train(other, TrainingConfig(epochs=1)))


def test_both_folded_forms_are_exact(mixed_trained: TrainedAutoencoder, indexes: np.ndarray) -> None:
    pipeline = mixed_trained.pipeline()
    centre = np.median(indexes, axis=0)
    import torch

    for form in (FoldedPipeline(pipeline), FoldedPipeline(pipeline, torch.from_numpy(centre))):
        found = evaluate_rows(form.double(), indexes, torch.float64)
        for name, values in by_hand(mixed_trained, indexes).items():
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("offset", [0, 1e5])
def test_rows_far_from_zero_take_the_form_that_holds(mixed: Columns, tmp_path: Path, offset: float) -> None:
    far = {**mixed, "weight": [offset + value for value in mixed["weight"]]}
    trained = train(table_from_columns(far, categorical="auto"), TrainingConfig(epochs=2))
    assert _leanest(trained, trained.held_out.features, 1.0)[0] == ("centred" if offset else "folded")
    exported = export_checkpoint(trained, tmp_path / "b")
    assert max(record.max_scaled for record in exported.parity) <= 1e-5


@pytest.mark.parametrize("opset", [14, 17, 18, 21])
def test_every_opset_has_plain_operators_only(
    mixed_trained: TrainedAutoencoder,
    model: aetool.AutoencoderSession,
    indexes: np.ndarray,
    tmp_path: Path,
    opset: int,
) -> None:
    export_checkpoint(mixed_trained, tmp_path / "b", ExportOptions(opset=opset))
    graph = onnx.load(tmp_path / "b" / "autoencoder.onnx")
    assert {entry.domain for entry in graph.opset_import} == {""}
    np.testing.assert_allclose(aetool.load(tmp_path / "b").score(indexes), model.score(indexes), rtol=1e-5)


def test_the_graph_does_not_grow_with_the_columns(mixed_bundle: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wide = {f"c{i}": [f"k{code}" for code in random.integers(0, 2 + i, 200)] for i in range(30)}
    export_checkpoint(
        train(table_from_columns(wide, categorical="auto"), TrainingConfig(epochs=1)), tmp_path / "b"
    )
    for name in ("autoencoder.onnx", "detector.onnx"):
        sizes = [len(onnx.load(path / name).graph.node) for path in (mixed_bundle, tmp_path / "b")]
        assert sizes[0] == sizes[1] <= 22


def test_imputation_and_batch_norm_and_layers_go_with_categories(mixed: Columns, tmp_path: Path) -> None:
    holes = {**mixed, "size": [np.nan, np.nan, *mixed["size"][2:]], "job": [None, *mixed["job"][1:]]}
    config = AutoencoderConfig(9, 4, (12,), dropout=0.1, batch_norm=True)
    table = table_from_columns(holes, categorical="auto")
    trained = train(table, TrainingConfig(epochs=2, impute="median"), config)
    export_checkpoint(trained, tmp_path / "b")
    found = aetool.load(tmp_path / "b").score(holes)
    np.testing.assert_allclose(found, trained.evaluate(table.values)["score"], rtol=1e-4)
    assert np.isfinite(found).all()


def test_categories_alone_export(mixed: Columns, tmp_path: Path) -> None:
    table = table_from_columns(mixed, columns=["owner", "job"], categorical="auto")
    export_checkpoint(train(table, TrainingConfig(epochs=1)), tmp_path / "b")
    assert np.isfinite(aetool.load(tmp_path / "b").score(mixed)).all()


def test_a_near_tie_may_fall_either_way_and_nothing_else_may(mixed_trained: TrainedAutoencoder) -> None:
    rows = mixed_trained.held_out.features
    expected = expected_outputs(mixed_trained.evaluate, rows, 1.0)
    near = expected["alternative"].copy()
    near[0, 0] = (near[0, 0] + 1) % 4
    tied = {**expected, "alternative": near}

    def passes(row: int, index: float) -> bool:
        found = expected["reconstruction"].copy()
        found[row, 0] = index
        (record,) = compare_graph("g", tied, {"reconstruction": found}, features=rows, threshold=1.0)
        return record.passed

    assert passes(0, expected["reconstruction"][0, 0]) and passes(0, near[0, 0])
    assert not passes(0, (near[0, 0] + 1) % 4) and not passes(1, (near[1, 0] + 1) % 4)
    assert not passes(0, np.nan)


def test_a_graph_that_names_other_categories_is_not_published(
    mixed_trained: TrainedAutoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aetool.model._one_hot import OneHot

    decode = OneHot.decode
    pipeline = FoldedPipeline.forward

    def smallest(self: Any, features: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(OneHot, "decode", lambda one_hot, encoded: decode(one_hot, -encoded))
            return pipeline(self, features)

    monkeypatch.setattr(FoldedPipeline, "forward", smallest)
    monkeypatch.setattr(DoublePipeline, "can_hold", staticmethod(lambda network: False))  # or that form ships
    with pytest.raises(VerificationError, match="reconstruction"):
        export_checkpoint(mixed_trained, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "change",
    [lambda texts: texts.reverse(), lambda texts: texts.append("new"), lambda texts: texts.append(texts[0])],
    ids=["swapped", "added", "twice"],
)
def test_categories_changed_in_the_manifest_are_refused(mixed_bundle: Path, tmp_path: Path, change: Any) -> None:
    import shutil

    copy = Path(shutil.copytree(mixed_bundle, tmp_path / "b"))
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    assert all(sha256((copy / n).read_bytes()) == f["sha256"] for n, f in manifest["files"].items())
    change(manifest["features"][0]["categories"])
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match="categories"):
        aetool.load(copy, provider="cpu").score([[0, 1, 0, 70, 1]])


def test_the_manifest_holds_categories_and_leaves_numbers_without(
    mixed_trained: TrainedAutoencoder, mixed_bundle: Path, bundle: Path
) -> None:
    manifest = json.loads((mixed_bundle / "manifest.json").read_text(encoding="utf-8"))
    assert [feature.get("categories") for feature in manifest["features"]] == [
        ["clerk", "nurse", "pilot", "smith, or so"],
        None,
        ["10", "20", "3"],
        None,
        ["false", "true"],
    ]
    assert Bundle.open(mixed_bundle).manifest.categories == mixed_trained.categories
    assert "categories" not in (bundle / "manifest.json").read_text(encoding="utf-8")
    card = (mixed_bundle / "README.md").read_text(encoding="utf-8")
    assert "| `job` | index of `clerk`, `nurse`, `pilot`, `smith, or so`; else none of them |" in card
