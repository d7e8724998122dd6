"""`export_checkpoint`: a checkpoint of `aetool train` as a bundle, folded where float32 allows, and proven."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from aetool.bundle.baseline import Baseline, baseline_of
from aetool.bundle.manifest import Feature
from aetool.checks.parity import compare_graph
from aetool.errors import InputError
from aetool.export._export_input import ExportInput, Reference, RowCost, Rows, expected_outputs, out_of_range
from aetool.export.graphs import WithDecision, export_graph
from aetool.export.opset import target
from aetool.export.publish import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.threshold import AS_IF_HELD_OUT, HELD_OUT, choose_threshold
from aetool.model.checkpoint import TrainedAutoencoder, load_checkpoint
from aetool.model.network import Autoencoder
from aetool.model.pipeline import Outputs, Pipeline, evaluate_rows, filled, missing_of, scored
from aetool.model.prototypes import Nearest

# Forms of the exported pipeline: folded in float32, or unfolded in float64 where float32 is too coarse.


def _fold_batch_norm(network: Autoencoder) -> Autoencoder:
    """Return a copy in eval mode, with batch norm folded in float64 and without Dropout."""
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
        difference     = (x' - offset) gain - p'           p' = (p - c) / sqrt(encoded width), p: the nearest
                                                           prototype
        contribution   = residual**2 + w difference**2     those of a column's categories summed; w: the weight of
                                                           prototypes
        score          = sum(residual**2 + w difference**2)

    Where missing values are left out of the score, neither is divided beforehand, but their squares by the number
    of those that are there.

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
        """Fold the scaling around `centre`, (n_features,) float32, raw units."""
        super().__init__()
        self.encoding = copy.deepcopy(pipeline.encoding)
        if self.encoding is not None and centre is not None:
            centre = self.encoding.centre(centre)
        network = _fold_batch_norm(pipeline.network)
        mean, scale = pipeline.mean.double(), pipeline.scale.double()
        shift = mean if centre is None else mean - centre.double()
        first, *encoder = network.encoder
        *decoder, last = network.decoder
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        self.leaves_out = pipeline.leaves_out
        width = 1.0 if self.leaves_out else math.sqrt(last.out_features)
        self.nearest = None
        if pipeline.nearest is not None:
            centres = (pipeline.nearest.centres.double() - last.bias.detach()) / width
            self.nearest = Nearest(centres, pipeline.nearest.importance, leaves_out=self.leaves_out)
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
        """Map (batch, n_features) in raw units to all outputs."""
        missing = missing_of(features, self.encoding) if self.leaves_out else None
        features = filled(features, self.fill, self.fillable)
        if self.encoding is not None:
            features = self.encoding(features)
        if self.centre is not None:
            features = features - self.centre
        embedding = self.encoder(features)
        hidden = self.hidden(embedding)
        standardised = (features - self.offset) * self.gain
        residual = torch.addmm(standardised, hidden, self.residual_weight)
        near = None if self.nearest is None else self.nearest(standardised, missing)
        raw = self.last(hidden)
        if missing is None:
            contribution = residual * residual
            score = torch.sum(contribution, dim=1)
            if near is not None:
                score, contribution = score + near[0], contribution + near[1]
        else:
            score, contribution = scored(residual, missing, near)
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
        """Fold a pipeline's scaling into its network."""
        super().__init__()
        network = _fold_batch_norm(pipeline.network)
        self.encoder = _in_double_operators(network.encoder)
        self.decoder = _in_double_operators(network.decoder)
        self.register_buffer("mean", pipeline.mean.double())
        self.register_buffer("scale", pipeline.scale.double())
        self.register_buffer("fill", pipeline.fill)
        self.register_buffer("fillable", pipeline.fillable)
        self.encoding = copy.deepcopy(pipeline.encoding)
        self.leaves_out = pipeline.leaves_out
        self.nearest = copy.deepcopy(pipeline.nearest)
        self.eval()

    @staticmethod
    def can_hold(network: Autoencoder) -> bool:
        """Return True if onnxruntime has the activation in float64; it has no erf, which GELU uses."""
        return not any(isinstance(layer, nn.GELU) for layer in network.modules())

    def forward(self, features: Tensor) -> Outputs:
        """Map (batch, n_features) in raw units to all outputs."""
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
        near = None if self.nearest is None else self.nearest(standardised, missing)
        score, contribution = scored(residual, missing, near)
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
    """Replace activations that onnxruntime has in float32 only with operators that it has in float64."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.LeakyReLU):
            kept.append(_DoubleLeakyReLU(layer.negative_slope))
        else:
            kept.append(_DoubleELU() if isinstance(layer, nn.ELU) else layer)
    return nn.Sequential(*kept)


_FOLDING_TOLERANCE = 2e-6
"""Range-scaled difference that folding may cost; a fifth of what verification allows."""
SCORE: dict[str, Any] = {
    "kind": "mse",
    "definition": "mean over features of the squared difference between the standardised row and its "
    "reconstruction",
    "scaled": True,
    "direction": "higher is more abnormal",
    "is_anomaly": "not (score <= threshold)",
}
BY_PROTOTYPES: dict[str, Any] = {
    **SCORE,
    "kind": "mse + prototypes",
    "definition": "mean over features of the squared difference between the standardised row and its "
    "reconstruction, and of that between the standardised row and the nearest prototype times weight, added",
}


def export_checkpoint(
    checkpoint: str | Path | TrainedAutoencoder, path: str | Path, options: ExportOptions | None = None
) -> Exported:
    """Export a trained autoencoder, verify it against PyTorch in float64, and publish it as a bundle.

    Args:
        checkpoint: a directory written by `aetool train`, or the result of `aetool.model.train`.
        path: the bundle's directory.
        options: name, threshold and opset of the bundle.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
        ExportError: it cannot become a deployable graph.
        VerificationError: the graphs do not compute what was trained; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    options = options or ExportOptions()
    path = prepare(path, options)
    opset, max_ir = target(options.opset, options.onnxruntime_min)
    trained = checkpoint if isinstance(checkpoint, TrainedAutoencoder) else load_checkpoint(checkpoint)
    rows = trained.held_out.features
    if len(rows) == 0:
        raise InputError("the checkpoint holds no rows to verify with; train again")
    threshold = choose_threshold(
        trained.held_out.all_scores,
        options.contamination,
        options.threshold,
        rows=HELD_OUT if trained.held_out.others is None else AS_IF_HELD_OUT,
        counted=trained.held_out.scores,
    )
    form, pipeline = _leanest(trained, rows, threshold.value)
    # Two rows or more to trace with, or the exporter would fix the batch.
    sample = torch.from_numpy(np.resize(rows, (3, *rows.shape[1:])))
    cost = _cost(trained)

    def graph_of(form: nn.Module) -> ModelProto:
        options.progress("tracing the network")
        return export_graph(WithDecision(trained.in_shape(form), threshold.value), sample, opset, max_ir)

    def evaluate(dtype: torch.dtype) -> Callable[[Rows], Reference]:
        return partial(evaluate_rows, trained.module(dtype), dtype=dtype, rows_at_once=cost.batch)

    candidate = ExportInput(
        graph=graph_of(pipeline),
        evaluate=evaluate(torch.float64),
        in_float32=evaluate(torch.float32),
        reference="PyTorch in float64",
        rows=rows,
        threshold=threshold,
        score=_score(trained),
        features=tuple(Feature(name, categories=trained.categories.get(name)) for name in trained.names),
        imputes=trained.statistics.fill is not None,
        figures={"form": form},
        provenance={
            **trained.provenance,
            "architecture": asdict(trained.network.config),
            "training": asdict(trained.training),
            "epochs": len(trained.history),
            "history": [dict(epoch) for epoch in trained.history],
        },
        baseline=_baseline(trained),
        series=trained.series,
        cost=cost,
    )

    def in_double() -> ExportInput | None:
        if not DoublePipeline.can_hold(trained.network) or trained.network.config.architecture != "dense":
            return None
        double = DoublePipeline(trained.pipeline(torch.float64))
        return replace(candidate, graph=graph_of(double), figures={"form": "float64"})

    return publish_candidate(candidate, path, options, otherwise=in_double)


def _cost(trained: TrainedAutoencoder) -> RowCost:
    """Return the cost of a window in the proof; rows of a table cost next to nothing."""
    config = trained.network.config
    if config.window is None:
        return RowCost()
    steps = config.window if config.architecture == "gru" else 1
    numbers = config.n_inputs
    return RowCost(8 * 8 * numbers * (4 if config.architecture == "gru" else 1), config.n_weights * steps, numbers)


def _score(trained: TrainedAutoencoder) -> dict[str, Any]:
    """Return the manifest's definition of the score."""
    categories = "; each category is a feature, 0 or 1" if trained.categories else ""
    missing = "; missing values are left out" if trained.statistics.leaves_out else ""
    score = SCORE
    if trained.prototypes is not None:
        rows, weight = trained.prototypes
        score = {**BY_PROTOTYPES, "prototypes": len(rows), "weight": weight}
    return {**score, "definition": f"{score['definition']}{categories}{missing}"}


def _baseline(trained: TrainedAutoencoder) -> Baseline | None:
    rows = int(trained.provenance["rows_trained"])
    if trained.series is not None:
        return baseline_of("windows that it was trained on", rows, (), trained.held_out.scores)
    if not trained.baseline:
        return None
    return baseline_of("rows that it was trained on", rows, trained.baseline, trained.held_out.scores)


def _leanest(trained: TrainedAutoencoder, rows: Rows, threshold: float) -> tuple[str, nn.Module]:
    """Return the form of the pipeline with the fewest operations that still computes the same in float32.

    Windows are flat rows here.
    """
    pipeline = trained.pipeline(torch.float64)
    if trained.network.config.architecture != "dense":
        return "plain", trained.pipeline()
    rows = rows.reshape(len(rows), -1)
    evaluate = partial(evaluate_rows, pipeline, dtype=torch.float64)
    cases = [
        (features, expected_outputs(evaluate, features, threshold))
        for features in (rows, out_of_range(rows, rows))
    ]
    folded = FoldedPipeline(pipeline)
    lost = _difference(folded, cases, threshold)
    if lost <= _FOLDING_TOLERANCE:
        return "folded", folded
    centre = np.nanmedian(np.where(np.isfinite(rows), rows, np.nan), axis=0).astype(np.float32)
    centred = FoldedPipeline(pipeline, torch.from_numpy(np.nan_to_num(centre)))
    return ("centred", centred) if _difference(centred, cases, threshold) < lost else ("folded", folded)


def _difference(form: FoldedPipeline, cases: Sequence[tuple[Rows, Reference]], threshold: float) -> float:
    """Return the largest range-scaled difference of `form` to the reference."""
    worst = 0.0
    for features, expected in cases:
        found = dict(evaluate_rows(form, features, torch.float32))
        records = compare_graph("form", expected, found, features=features, threshold=threshold)
        # A difference that is no number (something overflowed) is the worst of all; max() would pass it over.
        worst = max(worst, *(np.nan_to_num(record.max_scaled, nan=np.inf) for record in records))
    return float(worst)
