"""The forms of the pipeline that ship: folded in float32, or as it stands in float64 where that is too coarse."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from aetool.model.autoencoder import Autoencoder
from aetool.model.pipeline import Outputs, Pipeline, filled, missing_of, scored


def fold_batch_norm(network: Autoencoder) -> Autoencoder:
    """A copy in eval mode without batch norm, folded in float64; no Dropout is left either."""
    folded = copy.deepcopy(network).double().eval()
    folded.encoder = _fold(folded.encoder)
    folded.decoder = _fold(folded.decoder)
    folded.dropout = nn.Identity()  # type: ignore[assignment]
    return folded


def _fold(layers: nn.Sequential) -> nn.Sequential:
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d):
            linear = kept[-1]
            assert isinstance(linear, nn.Linear)
            kept[-1] = fuse_linear_bn_eval(linear, layer)
        elif not isinstance(layer, nn.Dropout):
            kept.append(layer)
    return nn.Sequential(*kept)


class FoldedPipeline(nn.Module):
    """`Pipeline` with its scaling inside the first and the last layer.

        x'             = x - centre                        left out without a centre; categories one-hot before
        embedding      = encode'(x')                       first layer: W / scale, b - W (mean - centre) / scale
        hidden         = decode'(embedding)                all decoder layers but the last
        reconstruction = hidden V' + c'                    V' = scale V, c' = scale c + mean
        residual       = hidden V'' + (x' - offset) gain   = (z - y) / sqrt(encoded width)
        contribution   = residual**2                           those of a column's categories summed
        score          = sum(residual**2)

    Where missing values are left out of the score, the residual is not divided beforehand, but its square by the
    number of those that are there.

    Exact in real numbers. In float32 the first layer loses digits where the rows lie far from zero for their
    spread: a centre among the rows gives them back, for one operation more.
    """

    fill: Tensor | None
    fillable: Tensor | None
    centre: Tensor | None
    residual_weight: Tensor
    offset: Tensor
    gain: Tensor

    def __init__(self, pipeline: Pipeline, centre: Tensor | None = None) -> None:
        """`centre`: (n_features,) float32, raw units."""
        super().__init__()
        self.encoding = copy.deepcopy(pipeline.encoding)
        if self.encoding is not None and centre is not None:
            centre = self.encoding.centre(centre)
        network = fold_batch_norm(pipeline.network)
        mean, scale = pipeline.mean.double(), pipeline.scale.double()
        shift = mean if centre is None else mean - centre.double()
        first, *encoder = network.encoder
        *decoder, last = network.decoder
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        self.leaves_out = pipeline.leaves_out
        width = 1.0 if self.leaves_out else math.sqrt(last.out_features)
        with torch.no_grad():
            first.bias.sub_(first.weight @ (shift / scale))
            first.weight.div_(scale)
            self.register_buffer("residual_weight", (-last.weight / width).T.contiguous())
            self.register_buffer("offset", shift + scale * last.bias)
            self.register_buffer("gain", 1 / (scale * width))
            last.weight.mul_(scale[:, None])
            last.bias.mul_(scale).add_(mean)
        self.encoder = nn.Sequential(first, *encoder)
        self.hidden = nn.Sequential(*decoder)
        self.last = last
        self.register_buffer("fill", pipeline.fill)
        self.register_buffer("fillable", pipeline.fillable)
        self.register_buffer("centre", centre)
        self.float().eval()

    def forward(self, features: Tensor) -> Outputs:
        """(batch, n_features) in raw units."""
        missing = missing_of(features, self.encoding) if self.leaves_out else None
        features = filled(features, self.fill, self.fillable)
        if self.encoding is not None:
            features = self.encoding(features)
        if self.centre is not None:
            features = features - self.centre
        embedding = self.encoder(features)
        hidden = self.hidden(embedding)
        residual = torch.addmm((features - self.offset) * self.gain, hidden, self.residual_weight)
        raw = self.last(hidden)
        if missing is None:
            contribution = residual * residual
            score = torch.sum(contribution, dim=1)
        else:
            score, contribution = scored(residual, missing)
        if self.encoding is not None:
            raw, contribution = self.encoding.decode(raw), self.encoding.sum_categories(contribution)
        return Outputs(embedding, raw, score, contribution)


class DoublePipeline(nn.Module):
    """`Pipeline` in float64 between float32 features and float32 outputs.

    For a network that reconstructs so well that its residual, a difference of nearly equal numbers, drowns in
    float32's rounding. Twice as slow; the score is computed from the embedding before that is rounded.
    """

    fill: Tensor | None
    fillable: Tensor | None
    mean: Tensor
    scale: Tensor

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        network = fold_batch_norm(pipeline.network)
        self.encoder = _in_double_operators(network.encoder)
        self.decoder = _in_double_operators(network.decoder)
        self.register_buffer("mean", pipeline.mean.double())
        self.register_buffer("scale", pipeline.scale.double())
        self.register_buffer("fill", pipeline.fill)
        self.register_buffer("fillable", pipeline.fillable)
        self.encoding = copy.deepcopy(pipeline.encoding)
        self.leaves_out = pipeline.leaves_out
        self.eval()

    @staticmethod
    def can_hold(network: Autoencoder) -> bool:
        """Whether onnxruntime has the activation in float64; of erf, inside GELU, it has none."""
        return not any(isinstance(layer, nn.GELU) for layer in network.modules())

    def forward(self, features: Tensor) -> Outputs:
        """(batch, n_features) in raw units."""
        missing = missing_of(features, self.encoding) if self.leaves_out else None
        features = filled(features, self.fill, self.fillable)
        features = features.double()
        if self.encoding is not None:
            features = self.encoding(features)
        standardised = (features - self.mean) / self.scale
        exact = self.encoder(standardised)
        embedding = exact.float()
        reconstruction = self.decoder(embedding.double()) * self.scale + self.mean
        residual = standardised - self.decoder(exact)
        score, contribution = scored(residual, missing)
        if self.encoding is not None:
            reconstruction = self.encoding.decode(reconstruction)
            contribution = self.encoding.sum_categories(contribution)
        return Outputs(embedding, reconstruction.float(), score.float(), contribution.float())


class _DoubleLeakyReLU(nn.Module):
    slope: Tensor

    def __init__(self, slope: float) -> None:
        super().__init__()
        # A buffer: the exporter rounds Python's numbers to float32.
        self.register_buffer("slope", torch.tensor(slope, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        return torch.maximum(values, values * self.slope)


class _DoubleELU(nn.Module):
    """ELU with alpha = 1."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(values) + (torch.exp(-torch.relu(-values)) - 1)


def _in_double_operators(layers: nn.Sequential) -> nn.Sequential:
    """Activations that onnxruntime knows in float32 only, written in operators that it has in float64 too."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.LeakyReLU):
            kept.append(_DoubleLeakyReLU(layer.negative_slope))
        else:
            kept.append(_DoubleELU() if isinstance(layer, nn.ELU) else layer)
    return nn.Sequential(*kept)
