"""Modules as strangers write them: exported where that is possible, refused in one line where it is not."""

import threading

import numpy as np
import pytest
import torch
from peoples_modules import NoParts, Plain, Variational
from torch import nn
from torch.nn.utils import parametrizations

import aetool
from aetool.errors import AetoolError, ExportError, InputError, VerificationError
from aetool.export import ExportOptions, ModuleOptions, export_module


def made(make):
    torch.manual_seed(0)
    return make()


def rows_of(*shape, count=40):
    return np.random.default_rng(1).normal(size=(count, *(shape or (6,)))).astype(np.float32)


def exported(module, path, shape=(6,), rows=None, **reading):
    rows = rows_of(*shape) if rows is None else rows
    export_module(module, path / "b", rows=rows, reading=ModuleOptions(**reading))
    return aetool.load(path / "b")


class WithArguments(Plain):
    def forward(self, x, noise=0.0, *, both=False):
        z = self.encoder(x)
        return (self.decoder(z) + noise, z) if both else self.decoder(z) + noise


class GivesInputBack(Plain):
    """[reconstruction, None, input, embedding], as collections of VAEs do."""

    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z), None, x, z


class Output(dict):
    """A dict with attributes, as model libraries return."""

    __getattr__ = dict.__getitem__


class AsOutput(Plain):
    def forward(self, x):
        z = self.encoder(x)
        return Output(loss=((self.decoder(z) - x) ** 2).mean(), reconstruction=self.decoder(z), latents=z)


class Skipping(Plain):
    def forward(self, x):
        return self.decoder(self.encoder(x)) + 0.1 * x


class Attention(nn.Module):
    """In eval mode torch takes a fast path here, which no exporter knows; its mask holds -inf."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(4, 8), nn.Linear(8, 4)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(5))

    def forward(self, x):
        return self.out(self.body(self.into(x), mask=self.mask, is_causal=True))


class Unpooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.layer = nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, x):
        return self.unpool(*self.pool(self.layer(x)))


class WithIntegers(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("order", torch.tensor([5, 4, 3, 2, 1, 0]))

    def forward(self, x):
        return self.decoder(self.encoder(x[:, self.order]))[:, self.order]


class Asserting(Plain):
    def forward(self, x):
        assert x.abs().max() < 20
        print("in range")
        return self.decoder(self.encoder(x))


class DataDependent(NoParts):
    def forward(self, x):
        y = self.layers(x)
        return y * 2 if x.abs().max() > 100 else y


class ByBatch(Plain):
    """Other numbers from 100 rows on, which decoder(encoder(x)) does not know of."""

    def forward(self, x):
        y = self.decoder(self.encoder(x))
        return y if x.shape[0] < 100 else y * 1.01


class StepsFirst(nn.Module):
    """A recurrent layer without batch_first: it takes the rows for steps."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.LSTM(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.layer(x)[0])


class Stacked(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layer, self.out = nn.GRU(4, 3, layers, batch_first=True), nn.Linear(3, 4)

    def forward(self, x):
        y, states = self.layer(x)
        return self.out(y), states


def far_from_zero():
    """Its rows lie at 100,000: float32 has two digits left for what makes them differ."""
    module = Plain()
    module.encoder = nn.Sequential(nn.BatchNorm1d(6), *module.encoder)
    module.encoder[0].running_mean += 1e5
    module.decoder[2].bias.data += 1e5
    return module.eval()


def with_weight_norm():
    """What its hooks have computed is in the graph of gradients, and no deepcopy takes it."""
    module = Plain()
    torch.nn.utils.weight_norm(module.encoder[0])
    module(torch.randn(4, 6)).sum().backward()
    return module


def parametrized():
    module = Plain()
    parametrizations.weight_norm(module.encoder[0])
    parametrizations.spectral_norm(module.encoder[3])
    parametrizations.orthogonal(module.decoder[0])
    module(torch.randn(4, 6)).sum().backward()
    return module


def centred():
    module = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3), nn.LayerNorm(3), nn.Linear(3, 6), nn.Sigmoid())
    module(torch.randn(64, 6) * 3 + 1)
    return module


def hooked():
    module = Plain()
    module.encoder.register_forward_hook(lambda part, given, found: found * 0.5)
    return module.requires_grad_(False)


WORKS = {
    "a Sequential with norms": (centred, (6,)),
    "default arguments": (WithArguments, (6,)),
    "the input and None among the outputs": (GivesInputBack, (6,)),
    "a weight norm of hooks": (with_weight_norm, (6,)),
    "parametrizations": (parametrized, (6,)),
    "a skip connection": (Skipping, (6,)),
    "attention with a mask": (Attention, (5, 4)),
    "pooling by indices": (Unpooling, (3, 4, 4)),
    "three axes": (lambda: nn.Sequential(nn.Conv3d(2, 2, 1), nn.SiLU(), nn.Conv3d(2, 2, 1)), (2, 3, 4, 4)),
    "integers among its buffers": (WithIntegers, (6,)),
    "hooks, frozen": (hooked, (6,)),
    "compiled": (lambda: torch.compile(Plain()), (6,)),
    "assertions": (Asserting, (6,)),
}


@pytest.mark.parametrize("case", WORKS)
def test_a_strangers_module_scores_as_in_torch_and_stays_as_it_was(case, tmp_path, capsys):
    make, shape = WORKS[case]
    module, rows = made(make), rows_of(*shape)
    own = getattr(module, "_orig_mod", module)
    kinds = [type(part) for part in own.modules()]
    model = exported(module, tmp_path, shape)
    assert capsys.readouterr().out == ""  # what forward prints is no result
    assert [type(part) for part in own.modules()] == kinds
    with torch.no_grad():
        found = own.eval()(torch.from_numpy(rows))  # its own forward still works
    expected = (found[0] if isinstance(found, tuple) else found).numpy()
    np.testing.assert_allclose(model.reconstruct(rows), expected, rtol=1e-5, atol=5e-6)
    score = ((rows - expected).reshape(len(rows), -1).astype(np.float64) ** 2).mean(axis=1)
    np.testing.assert_allclose(model.score(rows), score, rtol=1e-5)


def test_a_dict_with_a_loss_gives_its_embedding(tmp_path):
    module = made(AsOutput)
    model = exported(module, tmp_path)
    with torch.no_grad():
        expected = module.eval().encoder(torch.from_numpy(rows_of())).numpy()
    np.testing.assert_allclose(model.encode(rows_of()), expected, atol=2e-6)


def test_hidden_states_are_no_embedding_and_rows_keep_their_rank(tmp_path):
    """(layers, batch, width): the first axis is not the batch, whatever its size."""
    model = exported(made(lambda: Stacked(3)), tmp_path, (5, 4))
    assert model.graphs == ("autoencoder", "detector", "explainer")
    assert (model.input_shape, model.embedding_dim) == ((5, 4), 0)
    assert model.score(rows_of(5, 4)[0]).shape == ()
    with pytest.raises(InputError, match="has no encoder"):
        model.encode(rows_of(5, 4))
    with pytest.raises(InputError, match=r"shape \(rows, 5, 4\), found \(40, 4, 5\)"):
        model.score(rows_of(4, 5))


def test_parts_of_a_part_may_be_named(tmp_path):
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Plain()

        def forward(self, x):
            return self.net(x)

    assert exported(made(Inside), tmp_path, encoder="net.encoder", decoder="net.decoder").embedding_dim == 3


@pytest.mark.parametrize("names", [("nothing", "decoder"), ("decoder", "encoder")])
def test_parts_that_are_named_must_be_there_and_fit(names, tmp_path):
    with pytest.raises(ExportError, match=f"--encoder {names[0]} --decoder {names[1]}: .*; name others"):
        exported(made(Plain), tmp_path, encoder=names[0], decoder=names[1])


def test_what_float32_rounds_too_much_is_computed_in_float64(tmp_path):
    module, rows = made(far_from_zero), rows_of() + np.float32(1e5)
    model = exported(module, tmp_path, rows=rows)
    assert model.manifest.variants["fp32"].figures["form"] == "float64 inside"
    assert "decoder" in model.graphs
    with torch.no_grad():
        y = module.double()(torch.from_numpy(rows).double()).numpy()
    np.testing.assert_allclose(model.score(rows), ((rows - y) ** 2).mean(axis=1), rtol=1e-5)


def test_rows_with_holes_do_not_spoil_the_threshold(tmp_path):
    rows = rows_of()
    rows[3, 2] = np.nan
    model = exported(made(Plain), tmp_path, rows=rows)
    assert model.detect(rows)[3]
    assert model.detect(rows).sum() <= 2


def uncopyable():
    module = Plain()
    module.lock = threading.Lock()
    return module


def spoilt(value):
    module = Plain()
    module.encoder[0].weight.data[0, 0] = value
    return module


class TwoInputs(Plain):
    def forward(self, x, condition):
        return self.decoder(self.encoder(x + condition))


class OneMean(Variational):
    def decode(self, z):
        return self.decoder(z)[:, :3]


REFUSED = {
    "two inputs": (TwoInputs, {}, "missing 1 required positional argument: 'condition'.*rows alone"),
    "TorchScript": (lambda: torch.jit.script(NoParts()), {}, "is TorchScript.*give the nn.Module"),
    "no weights": (lambda: Plain().to("meta"), {}, "'encoder.0.weight' is on the meta device.*load the weights"),
    "no shapes": (lambda: nn.Sequential(nn.LazyLinear(3)), {}, "'0.weight' has no shape yet.*run the module"),
    "NaN weight": (lambda: spoilt(np.nan), {}, "'encoder.0.weight' holds NaN or infinity; train again"),
    "infinite weight": (lambda: spoilt(np.inf), {}, "'encoder.0.weight' holds NaN or infinity; train again"),
    "a lock": (uncopyable, {}, "cannot be copied .*make it deepcopy-able"),
    "a class": (lambda: Plain, {}, "found the class Plain; give an instance"),
    "a function": (lambda: abs, {}, "found builtin_function_or_method; give an instance"),
    "data in an if": (DataDependent, {}, "depends on the other rows of its batch: .* or a branch .*torch.where"),
    "by batch": (ByBatch, {}, "depends on the other rows of its batch"),
    "mean of no VAE": (Plain, {"latent": "mean"}, "needs methods encode"),
    "mean of another shape": (OneMean, {"latent": "mean"}, r"decode gives shape \(7, 3\).*decode must give"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused_in_one_line(case, tmp_path):
    make, reading, message = REFUSED[case]
    with pytest.raises((ExportError, VerificationError), match=message) as caught:
        exported(made(make), tmp_path, **reading)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_takes_rows_for_steps_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"depends on the other rows of its batch.*batch_first=True"):
        exported(made(StepsFirst), tmp_path, (5, 4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": rows_of()[:0]}, "one or more rows"),
        ({"rows": rows_of()[0]}, "one or more rows"),
        ({"rows": rows_of().astype(str)}, "expected numbers"),
        ({"rows": rows_of(5)}, r"fails on a batch of shape .*check --input-shape or --data"),
        ({"input_shape": (0, 6)}, "sizes of 1 or more"),
        ({"input_shape": (2.5,)}, "sizes of 1 or more"),
        ({"rows": rows_of(), "names": ["a", "b"]}, "names: expected distinct names"),
        ({"rows": rows_of(), "options": ExportOptions(threshold=float("nan"))}, "threshold: expected 0"),
    ],
)
def test_rows_and_options_that_cannot_be_used_are_refused(given, message, tmp_path):
    with pytest.raises(AetoolError, match=message):
        export_module(made(Plain), tmp_path / "b", **given)
    assert list(tmp_path.iterdir()) == []
