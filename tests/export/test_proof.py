"""What the proof of an export finds, and what it must not refuse: rounding is no fault, a fault is no rounding."""

import contextlib
import functools
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import peoples_modules as modules
import pytest
import torch
from torch import Tensor, nn

import aetool
from aetool.checks import verify
from aetool.checks.parity import OutputParity, compare_values
from aetool.errors import AetoolError, ExportError, VerificationError
from aetool.export import ExportOptions, ModuleOptions, export_module, publish
from aetool.export import _module as exporting
from aetool.export._export_input import BATCH_BYTES, NUMBERS, WORK, RowCost, probes
from aetool.export.verify import rows_apart

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import honest
import mutants
from proof import differs

WIDTH = 12
trained = functools.cache(honest.trained)
"""A module, its rows and loss: an export leaves them as they are."""


def rows_of(count: int = 60, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("family", "offset"), [("dense ELU", 0.0), ("dense ELU", 100.0), ("tied weights", 1000.0)]
)
def test_a_well_trained_module_is_not_refused_for_its_rounding(family: str, offset: float, tmp_path: Path) -> None:
    module, rows, loss = trained(family, 1, offset)
    assert loss < 2e-4
    export_module(module, tmp_path / "b", rows=rows)
    assert differs(module, tmp_path / "b", rows) == ""
    assert all(record.passed for record in verify.verify_bundle(tmp_path / "b"))


def test_what_float32_alone_does_to_golden_rows_is_kept_for_other_machines(tmp_path: Path) -> None:
    module, rows, _ = trained("dense ELU", 1, 100.0)
    exported = export_module(module, tmp_path / "b", rows=rows)
    tolerances = exported.bundle.manifest.variants["fp32"].tolerances
    assert tolerances is not None and 1e-5 < tolerances.score < 1e-2 and tolerances.embedding == 1e-5


@pytest.mark.parametrize(
    "fault", ["a weight 1.001 times", "rows rounded to float16", "rows clipped at 1e5", "NaN is normal"]
)
def test_a_graph_with_a_fault_is_not_published(fault: str, tmp_path: Path) -> None:
    """benchmarks/proof.py tries all of them."""
    torch.manual_seed(0)
    export = exporting.export_graph

    def faulty(*given: Any) -> Any:
        return mutants.changed(export(*given), mutants.GRAPHS[fault])

    with mock.patch.object(exporting, "export_graph", faulty), pytest.raises(AetoolError):
        export_module(mutants.Dense(), tmp_path / "b", rows=rows_of())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fault", ["BranchOnLargest", "ByLargest", "BySize", "Centred", "Counting", "SequenceFirst"]
)
def test_a_module_that_is_no_function_of_a_row_is_refused(fault: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    with pytest.raises(ExportError, match=r"depends on the other rows of its batch|runs on the same rows differ"):
        export_module(mutants.MODULES[fault]().eval(), tmp_path / "b", rows=rows_of())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "case", ["Imputing", "WithoutNan", "Clamped", "ClampedFar", "Negative", "ConstantRows", "ZeroRows"]
)
def test_what_is_exported_is_forward_where_its_parts_are_not(case: str, tmp_path: Path) -> None:
    """decoder(encoder(x)) differs from forward on NaN, far, negative, constant or zero rows alone."""
    torch.manual_seed(1)
    module = mutants.MODULES[case]().eval()
    exported = export_module(module, tmp_path / "b", rows=rows_of())
    assert differs(module, tmp_path / "b", rows_of()) == ""
    assert exported.bundle.manifest.embedding_shape is None
    [note] = [note for note in exported.notes if note.startswith("no embedding")]
    assert "decoder(encoder(x)) is not what forward gives" in note and "--encoder encoder" in note


def test_the_option_that_is_named_brings_the_embedding(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = mutants.Clamped().eval()
    exported = export_module(module, tmp_path / "b", rows=rows_of(), reading=ModuleOptions(encoder="encoder"))
    assert not [note for note in exported.notes if "embedding" in note]
    far = 100 * rows_of(5, seed=3)
    with torch.no_grad():
        expected = module.encoder(torch.from_numpy(far).clamp(-20, 20)).numpy()
    np.testing.assert_allclose(aetool.load(tmp_path / "b").encode(far), expected, rtol=1e-4, atol=1e-4)


def test_outputs_reconstruction_means_forward_alone_without_a_word(tmp_path: Path) -> None:
    reading = ModuleOptions(outputs=("reconstruction",))
    exported = export_module(modules.Plain(WIDTH), tmp_path / "b", rows=rows_of(), reading=reading)
    assert exported.bundle.manifest.embedding_shape is None
    assert not [note for note in exported.notes if "embedding" in note]


def test_an_encoder_is_not_lost_for_one_nan_in_the_first_row(tmp_path: Path) -> None:
    rows = rows_of()
    rows[0, 3] = np.nan
    exported = export_module(modules.Plain(WIDTH), tmp_path / "b", rows=rows)
    assert exported.bundle.manifest.embedding_shape == (3,)


def test_rows_of_zeros_may_have_either_sign(tmp_path: Path) -> None:
    rows = rows_of()
    rows[0], rows[1] = 0.0, -0.0
    export_module(modules.Plain(WIDTH), tmp_path / "b", rows=rows)


class MeanAndVariance(modules.Plain):
    def forward(self, x: Tensor) -> Any:
        z = self.encoder(x)
        return self.decoder(z) * 1.5, z, z - 1


def test_outputs_that_may_be_the_embedding_are_named_with_the_option_that_takes_one(tmp_path: Path) -> None:
    module = MeanAndVariance(WIDTH)
    [note] = [note for note in export_module(module, tmp_path / "a", rows=rows_of()).notes if "embedding" in note]
    given = note.partition("--outputs ")[2].split(",")
    exported = export_module(module, tmp_path / "b", rows=rows_of(), reading=ModuleOptions(outputs=given))
    assert exported.bundle.manifest.embedding_shape == (3,)


class WithEmpty(modules.Plain):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x[:, :0]


def test_an_empty_output_is_ignored_and_said(tmp_path: Path) -> None:
    exported = export_module(WithEmpty(WIDTH), tmp_path / "b", rows=rows_of())
    assert "left out: output 1, which is empty" in exported.notes
    aetool.load(tmp_path / "b").score(rows_of())


def test_nothing_is_published_that_load_refuses(tmp_path: Path) -> None:
    with (
        mock.patch.object(publish, "load", side_effect=ExportError("no")),
        pytest.raises(ExportError, match=r"aetool\.load refuses the exported bundle: no; nothing was published"),
    ):
        export_module(modules.Plain(WIDTH), tmp_path / "b", rows=rows_of())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(2, 6), (1, 3, 4)])
def test_the_same_numbers_in_another_shape_are_reshaped_and_it_is_said(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 5), nn.Tanh(), nn.Linear(5, WIDTH))
    rows = rows_of().reshape(-1, *shape)
    exported = export_module(module, tmp_path / "b", rows=rows)
    assert any(f"is read as rows of shape {shape}" in note for note in exported.notes)
    with torch.no_grad():
        expected = module(torch.from_numpy(rows)).reshape(rows.shape).numpy()
    np.testing.assert_allclose(aetool.load(tmp_path / "b").reconstruct(rows), expected, atol=1e-5)


def test_other_sizes_are_named_with_their_usual_cause(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv1d(1, 2, 4, 4), nn.ConvTranspose1d(2, 1, 4, 4))
    rows = np.random.default_rng(0).normal(size=(9, 1, 50)).astype(np.float32)
    with pytest.raises(ExportError, match=r"48 where the input has 50: strides and paddings .* output_padding"):
        export_module(module, tmp_path / "b", rows=rows)


class Tokens(nn.Module):
    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole, self.table, self.out = whole, nn.Embedding(9, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        ids = x.nan_to_num().long().clamp(0, 9 - 1) if self.whole else x
        return self.out(self.table(ids)).squeeze(-1)


def test_ids_into_an_embedding_are_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 9, (40, 6)).astype(np.float32)
    with pytest.raises(ExportError, match=r"begin forward with x = x.nan_to_num\(\).long\(\).clamp\(0, "):
        export_module(Tokens(whole=False), tmp_path / "b", rows=rows)
    export_module(Tokens(whole=True), tmp_path / "b", rows=rows)
    assert aetool.load(tmp_path / "b").detect([[np.nan] * 6]).tolist() == [True]


@pytest.mark.parametrize(
    ("given", "shape", "channel"),
    [
        ({"mean": [5.0], "scale": [2.0]}, (4, 6), None),
        ({"mean": list(range(6)), "scale": [1.0] * 5 + [3.0]}, (4, 6), -1),
        ({"minimum": [-1.0, 0.0, 1.0], "maximum": [1.0, 9.0, 2.0]}, (3, 4, 4), 1),
        ({"minimum": list(range(12)), "maximum": [20.0] * 12}, (12,), -1),
    ],
)
def test_a_scaling_in_front_of_a_module(given: Any, shape: Any, channel: int | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = int(np.prod(shape))
    module = nn.Sequential(nn.Flatten(), nn.Linear(size, 5), nn.Tanh(), nn.Linear(5, size), nn.Unflatten(1, shape))
    rows = (3 * np.random.default_rng(0).normal(size=(40, *shape)) + 4).astype(np.float32)
    exported = export_module(module.eval(), tmp_path / "b", rows=rows, reading=ModuleOptions(**given))
    first = np.asarray(given.get("mean", given.get("minimum")), np.float64)
    scale = np.asarray(given["scale"]) if "scale" in given else np.asarray(given["maximum"]) - first
    if channel == 1:
        first, scale = (part.reshape(-1, 1, 1) for part in (first, scale))
    z = (rows - first) / scale
    with torch.no_grad():
        y = module.double()(torch.from_numpy(z)).numpy()
    model = aetool.load(tmp_path / "b")
    np.testing.assert_allclose(model.reconstruct(rows), y * scale + first, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.score(rows), ((z - y) ** 2).reshape(40, -1).mean(axis=1), rtol=1e-4)
    assert exported.bundle.manifest.score["definition"].count("scaled input") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": [1.0]}, "mean and scale are expected together, found mean alone"),
        ({"minimum": [1.0], "maximum": [1.0]}, r"maximum must be above minimum, found 0; give minimum \+ 1"),
        ({"mean": [1.0] * 5, "scale": [1.0]}, "one for each column of rows of shape"),
        ({"mean": [1.0], "scale": [1.0], "minimum": [0.0], "maximum": [1.0]}, "mean and scale, or minimum and"),
    ],
)
def test_a_scaling_that_cannot_be_is_refused(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export_module(modules.Plain(WIDTH), tmp_path / "b", rows=rows_of(), reading=ModuleOptions(**given))


def test_columns_of_very_different_size_and_rows_that_may_have_been_trained_on_are_said(tmp_path: Path) -> None:
    rows = rows_of() * np.array([1.0] * 11 + [50.0], np.float32)
    exported = export_module(modules.Plain(WIDTH), tmp_path / "b", rows=rows)
    notes = "; ".join(exported.notes)
    assert "column 11 varies" in notes and "give --mean and --scale" in notes
    assert "give normal rows that it has not seen" in notes
    assert exported.bundle.manifest.threshold["method"] == "quantile of the rows given"


class Large(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 2, 4, 4), nn.ConvTranspose2d(2, 3, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


@pytest.mark.parametrize(("pixels", "kept"), [(16, 24), (96, 12)])
def test_golden_rows_are_bounded_by_bytes(pixels: int, kept: int, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(24, 3, pixels, pixels)).astype(np.float32)
    exported = export_module(Large(), tmp_path / "b", rows=rows)
    assert (tmp_path / "b" / "golden.npz").stat().st_size <= 4 << 20
    golden = verify.read_golden(exported.bundle)
    assert len(golden["features"]) >= min(kept, 12) and len(golden["score"]) == len(golden["features"])
    assert all(record.passed for record in verify.verify_bundle(tmp_path / "b"))


def test_as_many_rows_are_proven_as_their_cost_allows() -> None:
    assert RowCost().rows(1000) == 1000
    assert RowCost(bytes=BATCH_BYTES // 10).rows(1000) == 10
    assert RowCost(multiply_adds=WORK // 20).rows(1000) == 20
    assert RowCost(numbers=NUMBERS).rows(1000) == 3


def test_probes_hold_rows_of_every_kind() -> None:
    found = {probe.name: probe.rows for probe in probes(rows_of())}
    assert np.isnan(found["not finite"]).any() and np.isinf(found["not finite"]).any()
    assert (found["negative"].min() < 0) and np.abs(found["far out of range"]).max() > 1e5
    assert (found["constant"] == found["constant"][:, :1]).all() and not found["constant"][0].any()
    assert len(found["mixed"]) > 17 and all(rows.dtype == np.float32 for rows in found.values())


def test_a_failure_names_the_row_the_difference_and_what_float32_alone_does() -> None:
    expected = np.linspace(0, 1, 40).reshape(20, 2)
    actual = expected.copy()
    actual[7, 1] += 1e-2
    record = compare_values("g", "embedding", expected, actual, rounded=expected + 1e-7)
    assert "1.0e-02 above 1.0e-05 in row 7, where float32 alone differs by 1.0e-07" in record.reason
    assert record.worst_row == 7
    assert compare_values("g", "embedding", expected, actual, rounded=expected + 2e-3).passed


@pytest.mark.parametrize("scale", [(6,), (1, 1, 6), (6, 1), (6, 1, 1)], ids=["columns", "last", "first", "images"])
def test_a_small_channel_is_held_to_its_own_range(scale: tuple[int, ...]) -> None:
    """A difference that is nothing to a channel of thousands, in one of thousandths."""
    sizes = np.array([1e-3, *[1e3] * 5]).reshape(scale)
    rows = np.random.default_rng(0).normal(size=(30, *(6 if size > 1 else 4 for size in scale))) * sizes
    assert not _reconstruction(rows, rows + 1e-5 * (sizes < 1)).passed
    assert _reconstruction(rows, rows + 1e-9 * sizes).passed


def _reconstruction(expected: np.ndarray, actual: np.ndarray) -> OutputParity:
    from aetool.checks.parity import compare_graph

    [record] = compare_graph(
        "g", {"reconstruction": expected}, {"reconstruction": actual}, features=expected, threshold=1.0
    )
    return record


class Bessel(modules.Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.special.bessel_j0(x)


def test_a_trace_that_fails_is_one_line_and_the_rest_a_note(tmp_path: Path, capfd: Any) -> None:
    with pytest.raises(ExportError, match=r"torch\.onnx\.export refuses the model: ") as caught:
        export_module(Bessel(WIDTH), tmp_path / "b", rows=rows_of())
    assert "\n" not in str(caught.value) and "--verbose" in str(caught.value)
    assert any("bessel" in note for note in caught.value.__notes__)
    said = capfd.readouterr()
    assert "bessel" not in said.err and said.out == ""


def test_random_rows_are_called_random(tmp_path: Path) -> None:
    exported = export_module(modules.Plain(WIDTH), tmp_path / "b", input_shape=(WIDTH,))
    assert exported.bundle.manifest.variants["fp32"].figures["rows"] == "random"


def test_scores_that_rounding_alone_decides_are_refused_in_true_words(tmp_path: Path) -> None:
    class Almost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("most", torch.tensor(1 - 1e-7))

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.erf(x * 0) + x * self.most

    with pytest.raises(VerificationError, match=r"scores are lost in rounding|float32 alone differs"):
        export_module(Almost(), tmp_path / "b", rows=rows_of() + 1000)
    with contextlib.suppress(FileNotFoundError):
        assert list(tmp_path.iterdir()) == []


def test_a_fixed_threshold_needs_no_rows_to_choose_from(tmp_path: Path) -> None:
    options = ExportOptions(threshold=0.5)
    exported = export_module(modules.Plain(WIDTH), tmp_path / "b", input_shape=(WIDTH,), options=options)
    assert exported.bundle.manifest.threshold["method"] == "given"


def test_what_begins_is_told(tmp_path: Path) -> None:
    steps: list[str] = []
    export_module(
        modules.Plain(WIDTH), tmp_path / "b", rows=rows_of(), options=ExportOptions(progress=steps.append)
    )
    assert steps[0].startswith("running the module") and "tracing the module" in steps
    assert {f"comparing {kind} rows" for kind in ("golden", "out of range", "mixed", "not finite")} <= set(steps)


def test_a_mean_over_the_finite_rows_of_a_batch_is_seen_among_rows_that_differ() -> None:
    def run(rows: Any) -> Any:
        score = rows.mean(axis=1) - np.nanmean(rows)
        return {"score": score, "is_anomaly": ~np.isfinite(score)}

    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert rows_apart(run, rows, [0], [np.nan], 1e-5).spreads
