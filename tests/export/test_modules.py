"""Any PyTorch autoencoder becomes a proven bundle, or is refused with the reason."""

import copy

import numpy as np
import peoples_modules as modules
import pytest
import torch

import aetool
from aetool.checks import verify
from aetool.errors import AetoolError, ExportError, VerificationError
from aetool.export import ExportOptions, ModuleOptions, export_module

SHAPES = {
    modules.Convolutional: (3, 8, 8),
    modules.Recurrent: (5, 4),
    modules.RecurrentOneRow: (5, 4),
    modules.FixedReshape: (5, 4),
    modules.Temporal: (3, 8),
}
ALONE = {modules.RecurrentOneRow, modules.FixedReshape}


def made(kind, seed=0):
    torch.manual_seed(seed)
    return kind()


def rows_for(kind, count=50, seed=1):
    return np.random.default_rng(seed).normal(size=(count, *SHAPES.get(kind, (6,)))).astype(np.float32)


def in_torch(module, rows):
    module = module.eval()
    with torch.no_grad():
        return module(torch.from_numpy(rows))


@pytest.mark.parametrize(
    "kind",
    [
        modules.Plain,
        modules.Pair,
        modules.Swapped,
        modules.AsDict,
        modules.AsDataclass,
        modules.NoParts,
        modules.Convolutional,
        modules.Recurrent,
        modules.Temporal,
        modules.RecurrentOneRow,
        modules.FixedReshape,
    ],
)
def test_a_module_is_exported_verified_and_scores_as_in_torch(kind, tmp_path):
    module, rows = made(kind), rows_for(kind)
    exported = export_module(module, tmp_path / "b", rows=rows)
    assert all(record.passed for record in exported.parity)
    assert all(record.passed for record in verify.verify_bundle(tmp_path / "b"))
    model = aetool.load(tmp_path / "b")
    parts = [rows[i : i + 1] for i in range(len(rows))] if kind in ALONE else [rows]
    expected = []
    for part in parts:
        found = in_torch(module, part)
        if isinstance(found, tuple):
            found = found[1] if found[1].shape == part.shape else found[0]
        found = found["x_hat"] if isinstance(found, dict) else found
        expected.append(getattr(found, "reconstruction", found).numpy())
    reconstruction = np.concatenate(expected)
    np.testing.assert_allclose(model.reconstruct(rows), reconstruction, atol=2e-6)
    score = ((rows - reconstruction).reshape(len(rows), -1).astype(np.float64) ** 2).mean(axis=1)
    np.testing.assert_allclose(model.score(rows), score, rtol=2e-6)


@pytest.mark.parametrize(
    "kind",
    [modules.Plain, modules.Pair, modules.Swapped, modules.AsDict, modules.AsDataclass, modules.Convolutional],
)
def test_the_embedding_is_found_and_decodes_to_the_reconstruction(kind, tmp_path):
    module, rows = made(kind), rows_for(kind)
    export_module(module, tmp_path / "b", rows=rows)
    model = aetool.load(tmp_path / "b")
    with torch.no_grad():
        expected = module.eval().encoder(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(model.encode(rows), expected, atol=2e-6)
    np.testing.assert_allclose(model.decode(model.encode(rows)), model.reconstruct(rows), atol=2e-6)


def test_without_an_embedding_encode_and_decode_say_so(tmp_path):
    export_module(made(modules.NoParts), tmp_path / "b", rows=rows_for(modules.NoParts))
    model = aetool.load(tmp_path / "b")
    for call in (model.encode, model.decode):
        with pytest.raises(AetoolError, match=r"has no .*(encoder|decoder)"):
            call(rows_for(modules.NoParts, 2))


def test_parts_with_other_names_are_found_when_named(tmp_path):
    module = made(modules.OtherNames)
    reading = ModuleOptions(encoder="down", decoder="up")
    export_module(module, tmp_path / "b", rows=rows_for(modules.Plain), reading=reading)
    assert aetool.load(tmp_path / "b").encode(rows_for(modules.Plain)).shape == (50, 3)


def test_outputs_of_one_shape_must_be_named(tmp_path):
    class Square(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

        def forward(self, x):
            z = self.a(x)
            return z, self.b(z)

    module, rows = Square(), rows_for(modules.Plain)
    with pytest.raises(ExportError, match="--outputs"):
        export_module(module, tmp_path / "b", rows=rows)
    export_module(
        module, tmp_path / "b", rows=rows, reading=ModuleOptions(outputs=("embedding", "reconstruction"))
    )
    with torch.no_grad():
        expected = module.a(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(aetool.load(tmp_path / "b").encode(rows), expected, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_module_keeps_its_mode_weights_and_gradients(training, tmp_path):
    module = made(modules.Plain).train(training)
    module.encoder[3].eval()
    modes = [part.training for part in module.modules()]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_module(module, tmp_path / "b", rows=rows_for(modules.Plain))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())


def test_a_module_left_in_training_mode_ships_without_dropout(tmp_path):
    module, rows = made(modules.Plain).train(), rows_for(modules.Plain)
    export_module(module, tmp_path / "b", rows=rows)
    expected = in_torch(module, rows).numpy()
    np.testing.assert_allclose(aetool.load(tmp_path / "b").reconstruct(rows), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("kind", "cause", "remedy"),
    [
        (modules.AlwaysDropping, "random in eval mode", "self.training"),
        (modules.Variational, "random in eval mode", "--latent mean"),
        (modules.BatchStatistics, "batch norm in training mode", "running statistics|training mode"),
        (modules.Classifier, "none has it", "must return the reconstruction"),
    ],
)
def test_what_is_no_function_of_a_row_is_refused_with_cause_and_remedy(kind, cause, remedy, tmp_path):
    with pytest.raises(ExportError, match=cause) as caught:
        export_module(made(kind), tmp_path / "b", rows=rows_for(kind))
    assert caught.match(remedy)
    assert list(tmp_path.iterdir()) == []


def test_a_variational_autoencoder_goes_by_its_mean(tmp_path):
    module, rows = made(modules.Variational), rows_for(modules.Variational)
    export_module(module, tmp_path / "b", rows=rows, reading=ModuleOptions(latent="mean"))
    model = aetool.load(tmp_path / "b")
    with torch.no_grad():
        mean, _ = module.encode(torch.from_numpy(rows))
        expected = module.decode(mean).numpy()
    np.testing.assert_allclose(model.encode(rows), mean.numpy(), atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(rows), expected, atol=2e-6)


def test_rows_that_meet_in_the_graph_are_never_shipped(tmp_path):
    class Mixing(torch.nn.Module):
        """A function of the row in eval mode as far as three rows tell: sorted by the batch's order."""

        def forward(self, x):
            return x + 0.001 * (x.shape[0] > 5) * x.mean(dim=0)

    with pytest.raises((ExportError, VerificationError)):
        export_module(Mixing(), tmp_path / "b", rows=rows_for(modules.Plain))
    assert list(tmp_path.iterdir()) == []


def test_an_input_shape_alone_is_enough_and_flags_only_what_is_no_number(tmp_path):
    export_module(made(modules.Convolutional), tmp_path / "b", input_shape=(3, 8, 8))
    model = aetool.load(tmp_path / "b")
    rows = rows_for(modules.Convolutional, 4)
    rows[2, 0, 0, 0] = np.nan
    assert model.detect(rows).tolist() == [False, False, True, False]


@pytest.mark.parametrize("score", ["mse", "mae", "euclidean"])
def test_the_score_is_the_one_asked_for(score, tmp_path):
    module, rows = made(modules.Convolutional), rows_for(modules.Convolutional)
    export_module(module, tmp_path / "b", rows=rows, reading=ModuleOptions(score=score))
    residual = (rows - in_torch(module, rows).numpy()).reshape(len(rows), -1).astype(np.float64)
    expected = {
        "mse": (residual**2).mean(axis=1),
        "mae": np.abs(residual).mean(axis=1),
        "euclidean": np.sqrt((residual**2).sum(axis=1)),
    }[score]
    np.testing.assert_allclose(aetool.load(tmp_path / "b").score(rows), expected, rtol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_precision_are_exported_in_float32(dtype, tmp_path):
    module = made(modules.Plain).to(dtype)
    rows = rows_for(modules.Plain)
    exported = export_module(module, tmp_path / "b", rows=rows)
    assert next(module.parameters()).dtype == dtype
    expected = in_torch(copy.deepcopy(module).float(), rows)
    np.testing.assert_allclose(aetool.load(tmp_path / "b").reconstruct(rows), expected, rtol=1e-4, atol=1e-6)
    said = [note for note in exported.notes if note.startswith("its weights are")]
    told = ["its weights are bfloat16: exported in float32, without the rounding of bfloat16"]
    assert said == (told if dtype == torch.bfloat16 else [])


class Casting(modules.Plain):
    def forward(self, x):
        return super().forward(x.bfloat16()).float()


def test_a_cast_inside_a_module_in_bfloat16_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ExportError, match=r"Casting fails on .*same dtype.*leave casts such as \.bfloat16\(\)"):
        export_module(made(Casting).to(torch.bfloat16), tmp_path / "b", rows=rows_for(modules.Plain))


def test_a_contamination_sets_the_threshold_from_the_rows(tmp_path):
    rows = rows_for(modules.Plain, 400)
    export_module(made(modules.Plain), tmp_path / "b", rows=rows, options=ExportOptions(contamination=0.1))
    assert aetool.load(tmp_path / "b").detect(rows).mean() == pytest.approx(0.1, abs=0.005)
