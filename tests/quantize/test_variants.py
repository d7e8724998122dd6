"""What every precision that is added keeps: its own threshold, rows of their own, NaN, and the bundle's tests."""

import hashlib
import json
import math

import numpy as np
import onnx
import pytest

import aetool
from aetool import BundleError, InputError, OutputError
from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import GRAPHS
from aetool.checks.verify import verify_bundle, verify_rows
from aetool.quantize import PRECISIONS, QuantizeOptions, quantize

every_precision = pytest.mark.parametrize("precision", PRECISIONS)


@every_precision
def test_a_precision_flags_the_share_of_normal_rows_that_fp32_flags(quantized, uneven_rows, precision):
    rows, labels = uneven_rows
    exact, variant = (
        aetool.load(quantized[0], precision=p).detect(rows[~labels]).mean() for p in ("fp32", precision)
    )
    assert exact > 0
    assert variant == pytest.approx(exact, abs=0.003)


@every_precision
def test_a_precision_has_its_threshold_in_manifest_graph_and_metadata(quantized, precision):
    bundle = Bundle.open(quantized[0])
    threshold = bundle.variant(precision).threshold
    model = onnx.load_from_string(bundle.graph("detector", precision))
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    comparison = next(node for node in model.graph.node if node.op_type == "LessOrEqual")
    assert constants[comparison.input[1]] == np.float32(threshold) == threshold
    assert metadata["threshold"] == repr(threshold)
    assert metadata["precision"] == precision
    assert metadata["bundle"] == bundle.manifest.id
    assert bundle.variant(precision).figures["threshold"]["rows"] == 1425


def test_every_precision_passes_the_bundles_own_test_by_its_own_tolerances(quantized, uneven_rows):
    path, _ = quantized
    records = verify_bundle(path) + verify_rows(path, uneven_rows[0])
    assert all(record.passed for record in records), [record for record in records if not record.passed]
    tolerances = {record.rows: record.tolerance for record in records if record.output == "score"}
    assert tolerances["golden"] == 1e-5 < tolerances["golden (fp16)"] < tolerances["golden (int8)"]


@every_precision
def test_another_models_graphs_do_not_pass_by_the_tolerances(quantized, copied, precision):
    path = copied(quantized[0])
    bundle = Bundle.open(path)
    manifest = json.loads((path / "manifest.json").read_text())
    model = onnx.load_from_string(bundle.graph("encoder", precision))
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    size = len(largest.raw_data) // math.prod(largest.dims)
    largest.raw_data = np.frombuffer(largest.raw_data, f"V{size}")[::-1].tobytes()
    name = manifest["variants"][precision]["files"]["encoder"]
    (path / name).write_bytes(content := model.SerializeToString())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    failed = {(record.graph, record.rows) for record in verify_bundle(path, provider="cpu") if not record.passed}
    assert failed == {("encoder", f"golden ({precision})")}


@every_precision
def test_a_cell_of_nan_or_infinity_is_flagged_whatever_its_column_and_spares_the_neighbours(
    quantized, uneven_rows, precision
):
    model = aetool.load(quantized[0], precision=precision)
    clean = uneven_rows[0][:41]
    for value in (np.nan, np.inf, -np.inf):
        for column in range(clean.shape[1]):
            spoilt = clean.copy()
            spoilt[20, column] = value
            score = model.score(spoilt)
            assert not np.isfinite(score[20]) and model.detect(spoilt)[20], (value, column)
            others = np.arange(len(clean)) != 20
            np.testing.assert_array_equal(score[others], model.score(clean)[others])
            assert not np.isfinite(model.score(spoilt[20]))


def test_a_row_scores_the_same_alone_and_among_thousands_in_int8(quantized, uneven_rows):
    model = aetool.load(quantized[0], precision="int8")
    rows = uneven_rows[0]
    whole = model.score(rows)
    np.testing.assert_array_equal(np.concatenate([model.score(rows[i : i + 1]) for i in range(100)]), whole[:100])
    np.testing.assert_array_equal(model.score(rows[:7]), whole[:7])
    embedding = model.run("autoencoder", rows)["embedding"]
    np.testing.assert_array_equal(model.encode(rows), embedding)
    np.testing.assert_array_equal(model.decode(embedding[:9]), model.reconstruct(rows[:9]))


@every_precision
def test_anomalies_far_beyond_the_calibrated_range_score_higher_still(quantized, uneven_rows, precision):
    model = aetool.load(quantized[0], precision=precision)
    rows, labels = uneven_rows
    normal = rows[~labels][:50]
    far = [np.median(model.score(normal + step * normal.std(axis=0))) for step in (0, 10, 100)]
    assert far[0] < far[1] < far[2] and model.detect(normal + 100 * normal.std(axis=0)).all()


@every_precision
def test_the_manifest_has_what_was_measured(quantized, precision):
    made = quantized[1][precision]
    figures = Bundle.open(quantized[0]).manifest.variants[precision].figures
    assert figures == made.figures
    assert figures["fidelity"]["rows"] == figures["rows"]["judged"] == 1575
    assert figures["rows"]["disjoint"] is True
    assert figures["fidelity"]["auroc_drop_interval"][0] <= figures["fidelity"]["auroc_drop_interval"][1]
    assert figures["speed"]["one_row"] > 0 and figures["speed"]["bulk"] > 0
    assert set(figures["bytes_ratio"]) == {*GRAPHS, "all"}
    assert figures["tried"][-1]["reasons"] == []
    assert figures["reconstruction_error_ratio"] == pytest.approx(1, abs=0.3)


def test_the_other_files_and_precisions_stay_as_they_were(uneven, uneven_rows, quantized):
    before, after = Bundle.open(uneven), Bundle.open(quantized[0])
    for name in before.manifest.files:
        assert name in ("README.md", "bom.cdx.json") or after.read(name) == before.read(name)
    assert after.manifest.variants["fp32"] == before.manifest.variants["fp32"]
    assert after.manifest.id == before.manifest.id
    assert after.check_files() == len(before.manifest.files) + len(GRAPHS) * len(PRECISIONS)
    assert "| `int8` |" in after.read("README.md").decode()


def test_one_that_is_there_is_replaced_on_demand_only(quantized, copied, uneven_rows, quick, loose):
    path = copied(quantized[0])
    with pytest.raises(OutputError, match="has int8 already; pass --overwrite"):
        quantize(path, *uneven_rows, options=quick, budget=loose)
    anew = QuantizeOptions(calibration="percentile", overwrite=True, rounds=1, seconds=0.01)
    made = quantize(path, *uneven_rows, options=anew, budget=loose)
    assert made.figures["recipe"]["calibration"] == "percentile"
    assert set(Bundle.open(path).manifest.variants) == {"fp32", *PRECISIONS}
    assert Bundle.open_whole(path).manifest == made.bundle.manifest


def test_a_precision_that_is_not_there_lists_those_that_are(quantized, uneven):
    with pytest.raises(BundleError, match="has no precision 'int4'; it has bf16, fp16, fp32, int8, int8-dynamic"):
        aetool.load(quantized[0], precision="int4")
    with pytest.raises(BundleError, match=r"has no precision 'int8'; it has fp32$"):
        aetool.load(uneven, precision="int8")


@pytest.mark.parametrize("damage", ["gone", "edited", "swapped"])
def test_a_variants_file_that_is_gone_edited_or_another_bundles_is_found(
    quantized, copied, uneven_rows, quick, loose, damage
):
    path, other = copied(quantized[0]), copied(quantized[0], "other")
    file = path / "int8" / "detector.onnx"
    if damage == "gone":
        file.unlink()
    elif damage == "edited":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        percentile = QuantizeOptions(calibration="percentile", overwrite=True, rounds=1, seconds=0.01)
        quantize(other, *uneven_rows, options=percentile, budget=loose)
        file.write_bytes((other / "int8" / "detector.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"int8/detector\.onnx"):
        aetool.load(path, precision="int8").score(uneven_rows[0][:3])
    with pytest.raises(BundleError, match=r"int8/detector\.onnx"):
        verify_bundle(path)
    aetool.load(path).score(uneven_rows[0][:3])  # fp32 is whole


def test_the_threshold_of_fp32_on_int8_scores_would_flag_other_shares(uneven, uneven_rows, copied, quick, loose):
    """With ranges cut where most of the rows end, scores rise: this is what a threshold that stays put does."""
    rows, labels = uneven_rows
    path = copied(uneven)
    entropy = QuantizeOptions(calibration="entropy", rounds=1, seconds=0.01)
    quantize(path, rows, labels, options=entropy, budget=loose)
    exact, int8 = (aetool.load(path, precision=precision) for precision in ("fp32", "int8"))
    normal = rows[~labels]
    wanted, own = exact.detect(normal).mean(), int8.detect(normal).mean()
    forced = (int8.score(normal) > exact.threshold).mean()
    assert own == pytest.approx(wanted, rel=0.1)
    assert abs(forced - wanted) > 0.25 * wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "int4"}, "precision: expected one of int8, int8-dynamic, fp16, bf16, found 'int4'"),
        ({"options": QuantizeOptions(calibration="mean")}, "calibration: expected one of minmax, percentile"),
        ({"rows": np.zeros((5, 3), np.float32)}, r"rows: expected numbers of shape \(rows, 12\)"),
        ({"rows": np.zeros((0, 12), np.float32)}, "no normal rows"),
        ({"labels": np.ones(3000, bool)}, "no normal rows"),
        ({"labels": np.ones(3, bool)}, "labels: one for each of 3000 rows"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(uneven, uneven_rows, copied, change, message):
    given = {"rows": uneven_rows[0], "labels": None, **change}
    path = copied(uneven)
    with pytest.raises(InputError, match=message):
        quantize(path, **given)
    assert Bundle.open_whole(path).manifest == Bundle.open(uneven).manifest
