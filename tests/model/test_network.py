"""The network: what the default is, and that every field of its config does something."""

import pytest
import torch
from torch import nn

from aetool.model import Autoencoder, AutoencoderConfig

SMALL = {"n_features": 6, "embedding_dim": 4}


def kinds(module: nn.Module) -> list[str]:
    return [type(part).__name__ for part in module.modules() if not list(part.children())]


def test_default_is_the_reference_model() -> None:
    network = Autoencoder()
    first, activation = network.encoder
    (last,) = network.decoder
    assert (first.in_features, first.out_features) == (256, 128)
    assert isinstance(activation, nn.LeakyReLU)
    assert activation.negative_slope == 0.01
    assert isinstance(network.dropout, nn.Dropout)
    assert network.dropout.p == 0.5
    assert (last.in_features, last.out_features) == (128, 256)
    assert kinds(network) == ["Linear", "LeakyReLU", "Dropout", "Linear"]
    assert sum(p.numel() for p in network.parameters()) == 2 * 256 * 128 + 128 + 256


def test_forward_gives_embedding_and_reconstruction() -> None:
    network = Autoencoder().eval()
    rows = torch.randn(5, 256)
    embedding, reconstruction = network(rows)
    assert embedding.shape == (5, 128)
    assert reconstruction.shape == (5, 256)
    first, last = network.encoder[0], network.decoder[0]
    by_hand = nn.functional.leaky_relu(rows @ first.weight.T + first.bias)
    torch.testing.assert_close(embedding, by_hand)
    torch.testing.assert_close(reconstruction, by_hand @ last.weight.T + last.bias)


def test_dropout_acts_on_the_embedding_while_training_only() -> None:
    network, rows = Autoencoder(), torch.randn(64, 256)
    seen: list[torch.Tensor] = []
    network.decoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    embedding, _ = network.train()(rows)
    dropped = seen[-1] == 0
    assert 0.4 < dropped.float().mean() < 0.6
    torch.testing.assert_close(seen[-1][~dropped], 2 * embedding[~dropped])  # the rest is scaled up
    assert not torch.equal(network(rows)[1], network(rows)[1])
    embedding, _ = network.eval()(rows)
    assert torch.equal(seen[-1], embedding)
    assert torch.equal(network(rows)[1], network(rows)[1])


@pytest.mark.parametrize("noisy", [{"dropout": 0.5}, {"dropout": 0.0, "input_noise": 0.3}])
def test_randomness_stops_in_eval(noisy: dict[str, float]) -> None:
    network = Autoencoder(AutoencoderConfig(**SMALL, **noisy))  # type: ignore[arg-type]
    rows = torch.randn(8, 6)
    assert not torch.equal(network.train()(rows)[1], network(rows)[1])
    assert torch.equal(network.eval()(rows)[1], network(rows)[1])


def test_hidden_dims_are_mirrored() -> None:
    network = Autoencoder(AutoencoderConfig(**SMALL, hidden_dims=(9, 7)))
    widths = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert widths == [(6, 9), (9, 7), (7, 4), (4, 7), (7, 9), (9, 6)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("leaky_relu", nn.LeakyReLU),
        ("relu", nn.ReLU),
        ("elu", nn.ELU),
        ("gelu", nn.GELU),
        ("silu", nn.SiLU),
        ("tanh", nn.Tanh),
        ("sigmoid", nn.Sigmoid),
    ],
)
def test_activation_follows_every_layer_but_the_last(name: str, kind: type[nn.Module]) -> None:
    network = Autoencoder(AutoencoderConfig(**SMALL, hidden_dims=(5,), activation=name))  # type: ignore[arg-type]
    assert sum(isinstance(part, kind) for part in network.modules()) == 3
    assert isinstance(network.decoder[-1], nn.Linear)


def test_batch_norm_follows_every_layer_but_the_last() -> None:
    network = Autoencoder(AutoencoderConfig(**SMALL, hidden_dims=(5,), batch_norm=True))
    block = ["Linear", "BatchNorm1d", "LeakyReLU"]
    assert [kind for kind in kinds(network.encoder) if kind != "Dropout"] == 2 * block
    assert kinds(network.decoder) == ["Linear", "BatchNorm1d", "LeakyReLU", "Linear"]


@pytest.mark.parametrize(("where", "embedding", "hidden"), [("embedding", 1, 0), ("hidden", 0, 2), ("both", 1, 2)])
def test_dropout_on_chooses_the_layers(where: str, embedding: int, hidden: int) -> None:
    config = AutoencoderConfig(**SMALL, hidden_dims=(5,), dropout=0.3, dropout_on=where)  # type: ignore[arg-type]
    network = Autoencoder(config)
    assert (network.dropout.p == 0.3) == bool(embedding)
    inner = [m for part in (network.encoder, network.decoder) for m in part if isinstance(m, nn.Dropout)]
    assert [m.p for m in inner] == [0.3] * hidden
