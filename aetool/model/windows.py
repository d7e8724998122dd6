"""Training on windows of a log: which of them, which are held out, and what is kept of them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aetool.bundle.golden import evenly
from aetool.bundle.manifest import Series
from aetool.choices import Architecture
from aetool.errors import InputError
from aetool.model._held_out import balanced
from aetool.model._loop import Epoch, Loop, own_settings, without_inputs
from aetool.model._windowed import held, repeated
from aetool.model.checkpoint import HeldOut, TrainedAutoencoder
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig
from aetool.model.pipeline import evaluate_rows
from aetool.model.prototypes import learn_prototypes, most_of_windows
from aetool.model.statistics import Statistics, learn_statistics
from aetool.runtime.moments import RowScores, by_moment
from aetool.suggest import few
from aetool.tables import command_option
from aetool.tables.windows import Log, Run, window_labels, windows

NUMBERS = 1 << 25
"""Numbers of all windows that are trained on; a log with more gives a sample of its windows."""
_HELD_OUT = 4096
"""Windows that are held out, at most."""
_STRETCHED, _STRETCHED_NUMBERS = 4096, 1 << 23
"""Windows of held-out stretches, and their numbers, at most: they give scores of rows."""
_ENOUGH_ROWS = 1000
"""Rows of held-out stretches that need no others beside them: ten of them lie above a threshold for 1 %."""
_WHOLE = 64
"""Windows, one after another, that are taken together from longer stretches."""
_KEPT_BYTES = 256 << 20
"""Rows of a log that are kept in memory from the first pass to the second."""
_ROWS = 1 << 18
"""Rows that statistics are taken from."""
_FEWEST = 10
"""Windows to train on."""
_GOLDEN_NORMAL, _GOLDEN_ANOMALIES, _COMPARABLE = 192, 64, 1e30
_BLOCK = 1024


@dataclass(slots=True)
class _RunLength:
    """One whole run, after the first pass."""

    rows: int
    labels: list[NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class _Share:
    """Part of a run: windows that begin from `start` to before `stop`."""

    run: int
    start: int
    stop: int
    held_out: bool


@dataclass(frozen=True, slots=True)
class WindowSample:
    """Windows to train with, raw units, (windows, window, channels) float32 each."""

    training: NDArray[np.float32]
    held_out: NDArray[np.float32]
    anomalies: NDArray[np.float32]
    stretches: tuple[NDArray[np.float32], ...]
    """Held-out windows again, those of a stretch together, a stride apart."""
    available: int
    """Normal windows to choose the training's from."""
    n_anomalies: int
    """Windows that labels call anomalies."""


def train_windows(
    log: Log,
    training: TrainingConfig | None = None,
    architecture: Callable[[int], AutoencoderConfig] | AutoencoderConfig | None = None,
    *,
    label_share: float = 0.0,
    progress: Callable[[Epoch], None] | None = None,
) -> TrainedAutoencoder:
    """Train an autoencoder on the windows of a log.

    The last part of every run is held out, a window apart from what is trained on, so that no row is on both
    sides; runs too short for both go to one side. A log that has more windows than training needs gives a seeded
    sample.

    Args:
        log: where the windows come from; `log.head()` has chosen its channels.
        training: options of the training.
        architecture: of the network, or what makes one for so many windows; `for_windows` by default.
        label_share: share of a window's rows that must be labelled anomalies for it to be one; 0: any row.
        progress: called after every epoch.

    Raises:
        InputError: no window, too few, missing values without `impute`, or divergence.
    """
    training, series = training or TrainingConfig(), log.series
    assert log.channels is not None
    names = log.channels
    sample = sample_windows(log, training, label_share)
    count = len(sample.training)
    if architecture is None:
        config = for_windows(series.window, len(names), count)
    else:
        config = architecture if isinstance(architecture, AutoencoderConfig) else architecture(count)
    parts = [_prepared(part, training) for part in (sample.training, sample.held_out, sample.anomalies)]
    train, held_out, anomalies = parts
    single = train.reshape(-1, len(names))
    rows = single[evenly(len(single), _ROWS)].astype(np.float64)
    _require_finite(rows, names, training, log.source)
    impute = "mean" if training.impute == "last" else training.impute
    statistics = learn_statistics(rows, names, impute, training.constant)
    flat = repeated(statistics, series.window)
    fill = None
    if flat.fill is not None and bool(np.isnan(train).any()):
        fill = torch.from_numpy(((flat.fill - flat.mean) / flat.scale).astype(np.float32))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with own_settings(training.seed, config):
        standardised = _standardise(train, flat).to(device)
        network = Autoencoder(config)
        if config.architecture == "dense":
            network = without_inputs(network, standardised.eq(0).all(dim=0).cpu())
        loop = Loop(
            network.to(device),
            standardised,
            _standardise(held_out, flat).to(device),
            training,
            fill=None if fill is None else fill.to(device),
        )
        learnt = None
        if training.score == "prototypes" and (most := most_of_windows(standardised.shape[1])):
            learnt = learn_prototypes(standardised.cpu().numpy(), training.seed, most)
        del standardised
        interrupted = loop.run(progress)
        loss_of_mean = loop.loss_of_mean()
    if learnt is None:
        training = replace(training, score="reconstruction")
    seen = log.seen
    trained = TrainedAutoencoder(
        loop.best_network(),
        statistics,
        names,
        training,
        loop.history,
        HeldOut(np.empty((0, series.window, len(names)), np.float32), np.empty(0)),
        {
            "data": log.source.replace("\\", "/").rsplit("/", 1)[-1],
            "rows": seen.rows,
            "runs": seen.runs,
            "rows_trained": len(train),
            "rows_held_out": len(held_out),
            "rows_labelled_anomalous": sample.n_anomalies,
            "windows_available": sample.available,
            "validation_loss_of_mean": loss_of_mean,
            "interrupted": interrupted,
            "device": str(device),
            "torch": torch.__version__,
            **({"reading": reading} if (reading := log.like.to_dict()) else {}),
        },
        loop.state,
        {},
        series=series,
    )
    if learnt is not None:
        rows = held_out.reshape(len(held_out), -1).astype(np.float64)
        trained = replace(trained, prototypes=balanced(trained.pipeline(), learnt, rows))
    kept = _held_out(trained, held_out, anomalies)
    stretches = [_prepared(stretch, training) for stretch in sample.stretches]
    return replace(trained, held_out=replace(kept, row_scores=_row_scores(trained, stretches)))


def for_windows(
    window: int, channels: int, count: int | None = None, kind: Architecture = "dense"
) -> AutoencoderConfig:
    """Return an architecture for windows of so many rows and channels; `count`: of the windows to train on.

    Small, for the machines that watch: a window of 64 rows of 12 channels takes 200,000 weights dense.
    """
    if kind == "dense":
        narrow = max(4, min(128, window * channels // 2))
        if count is not None:
            narrow = min(narrow, max(16, count // 2))
        return AutoencoderConfig(channels, narrow, (), "leaky_relu", 0.2, window=window)
    width = max(16, 2 * channels)
    hidden = (width, 2 * width) if kind == "conv" else (2 * width,)
    embedding = min(64, max(8, window * channels // 8))
    return AutoencoderConfig(channels, embedding, hidden, "leaky_relu", 0.1, architecture=kind, window=window)


def sample_windows(log: Log, training: TrainingConfig, label_share: float) -> WindowSample:
    """Read a log, and choose windows that begin at any row.

    Raises:
        InputError: none, or too few.
    """
    # Windows begin anywhere, whatever the stride: a model that is to score them may meet a series in any phase.
    log.series, series = log.series._replace(stride=1), log.series
    try:
        kept: list[Run] | None = []
        lengths: dict[int, _RunLength] = {}
        size = 0
        for run in log.runs():
            entry = lengths.setdefault(run.number, _RunLength(0, []))
            if run.labels is not None:
                entry.labels.append(run.labels[entry.rows - run.offset :])
            entry.rows = run.offset + len(run)
            size += run.values.nbytes
            if kept is not None:
                kept.append(run)
            if size > _KEPT_BYTES:
                kept = None
        log.require_runs()
        seen = log.seen
        chosen, available, n_anomalies = _choose(lengths, series, training, label_share, len(log.channels or ()))
        sample = _collect(iter(kept) if kept is not None else log.runs(), chosen, series)
        log.seen = seen
    finally:
        log.series = series
    train, held_out, anomalies, stretches = sample
    if len(train) < _FEWEST or len(held_out) < 2:
        raise InputError(
            f"{log.source}: {len(train):,} normal windows of {series.window} rows to train on and "
            f"{len(held_out):,} to hold out, {_FEWEST} and 2 or more are needed; give a shorter --window, or more "
            "rows"
        )
    return WindowSample(train, held_out, anomalies, stretches, available, n_anomalies)


_KINDS = _TRAINING, _HELD, _ANOMALY, _STRETCH = range(4)


def _choose(
    lengths: dict[int, _RunLength], series: Series, training: TrainingConfig, label_share: float, channels: int
) -> tuple[dict[int, list[NDArray[np.int64]]], int, int]:
    """Return the first rows of the chosen windows by run: to train on, held out, anomalies, of held-out stretches;
    then how many normal windows there are to train on, and how many anomalies."""
    window = series.window
    random = np.random.default_rng(training.seed)
    shares = list(_shares(lengths, window, training, random))
    starts: list[list[tuple[int, NDArray[np.int64]]]] = [[], [], []]
    stretches: list[tuple[int, NDArray[np.int64]]] = []
    for share in shares:
        entry = lengths[share.run]
        places = np.arange(share.start, share.stop)
        if entry.labels:
            labels = np.concatenate(entry.labels)[share.start : share.stop - 1 + window]
            any_row = window_labels(labels, window, 1)
            odd = window_labels(labels, window, 1, label_share)
            starts[_ANOMALY].append((share.run, places[odd]))
            # A window with fewer odd rows than the share asks for is neither: it would teach what is odd.
            places = places[~any_row] if label_share == 0 else places[~odd]
        starts[_HELD if share.held_out else _TRAINING].append((share.run, places))
        if share.held_out:
            places = places[(places - share.start) % series.stride == 0]
            stretches += [(share.run, part) for part in _apart(places, series.stride)]
    counts = [sum(len(places) for _, places in kind) for kind in starts]
    most = [max(_FEWEST, NUMBERS // (window * channels)), _HELD_OUT, _GOLDEN_ANOMALIES]
    chosen: dict[int, list[NDArray[np.int64]]] = {run: [np.empty(0, np.int64)] * len(_KINDS) for run in lengths}
    for kind, (parts, count, limit) in enumerate(zip(starts, counts, most, strict=True)):
        picked = np.arange(count) if count <= limit else _some(count, limit, random)
        begin = 0
        for run, places in parts:
            here = picked[(picked >= begin) & (picked < begin + len(places))] - begin
            chosen[run][kind] = np.concatenate([chosen[run][kind], places[here]])
            begin += len(places)
    limit = max(1, min(_STRETCHED, _STRETCHED_NUMBERS // (window * channels)))
    for run, places in _some_stretches(stretches, limit, -(-window // series.stride), random):
        chosen[run][_STRETCH] = np.sort(np.concatenate([chosen[run][_STRETCH], places]))
    return chosen, counts[_TRAINING], counts[_ANOMALY]


def _some(count: int, limit: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `limit` of `count` numbers, ascending, one from each of as many equal parts."""
    edges = np.linspace(0, count, limit + 1).astype(np.int64)
    return edges[:-1] + (random.random(limit) * np.diff(edges)).astype(np.int64)


def _apart(places: NDArray[np.int64], stride: int) -> list[NDArray[np.int64]]:
    """Return ascending places in parts, each of those that are a stride apart."""
    return [part for part in np.split(places, np.flatnonzero(np.diff(places) != stride) + 1) if len(part)]


def _some_stretches(
    stretches: list[tuple[int, NDArray[np.int64]]], limit: int, overlapping: int, random: np.random.Generator
) -> list[tuple[int, NDArray[np.int64]]]:
    """Return the stretches, or, where they have more windows than `limit`, parts of them drawn by chance."""
    if sum(len(places) for _, places in stretches) <= limit:
        return stretches
    # Long enough for most rows to have all their windows, `overlapping` of them.
    size = min(limit, max(_WHOLE, 4 * overlapping))
    parts = [(run, places[i : i + size]) for run, places in stretches for i in range(0, len(places), size)]
    drawn = [parts[place] for place in random.permutation(len(parts))]
    within = np.cumsum([len(places) for _, places in drawn]) <= limit
    return [part for part, is_taken in zip(drawn, within, strict=True) if is_taken]


def _shares(
    lengths: dict[int, _RunLength], window: int, training: TrainingConfig, random: np.random.Generator
) -> Iterator[_Share]:
    """Divide runs into parts to train on and parts held out, which no window shares."""
    total = sum(max(0, entry.rows - window + 1) for entry in lengths.values())
    share = training.held_out_of(total) / total
    long = {run: entry.rows for run, entry in lengths.items() if entry.rows >= window}
    cut, whole = {}, []
    for run, rows in long.items():
        held_rows = max(window + 1, round(share * rows))
        apart = window if rows >= held_rows + 2 * window + _FEWEST else 0
        begin = rows - held_rows
        if begin - apart >= window + _FEWEST:
            cut[run] = begin - apart, begin
        else:
            whole.append(run)
    for run, (stop, begin) in cut.items():
        yield _Share(run, 0, stop - window + 1, held_out=False)
        yield _Share(run, begin, long[run] - window + 1, held_out=True)
    random.shuffle(whole)
    aside = round(share * len(whole)) if cut else max(1, round(share * len(whole)))
    for place, run in enumerate(whole):
        yield _Share(run, 0, long[run] - window + 1, held_out=place < aside and len(long) > 1)


def _collect(
    runs: Iterator[Run], chosen: dict[int, list[NDArray[np.int64]]], series: Series
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
    """Copy the chosen windows, and no others; those of each stretch together."""
    window = series.window
    totals = [sum(len(kinds[kind]) for kinds in chosen.values()) for kind in _KINDS]
    made: list[Any] = [None] * len(_KINDS)
    filled = [0] * len(_KINDS)
    whose: list[tuple[int, NDArray[np.int64]]] = []
    for run in runs:
        views = windows(run, window, 1)
        for kind, places in enumerate(chosen[run.number]):
            here = places[(places >= run.offset) & (places < run.offset + len(views))] - run.offset
            if made[kind] is None:
                made[kind] = np.empty((totals[kind], *views.shape[1:]), np.float32)
            made[kind][filled[kind] : filled[kind] + len(here)] = views[here]
            filled[kind] += len(here)
            if kind == _STRETCH:
                whose.append((run.number, here + run.offset))
    train, held_out, anomalies, stretched = (made[kind][: filled[kind]] for kind in _KINDS)
    # Pieces of long runs come in turn: back into the order of each.
    numbers = np.concatenate([np.full(len(places), number) for number, places in whose])
    places = np.concatenate([places for _, places in whose])
    order = np.lexsort((places, numbers))
    breaks = (np.diff(numbers[order]) != 0) | (np.diff(places[order]) != series.stride)
    stretches = np.split(order, np.flatnonzero(breaks) + 1)
    return train, held_out, anomalies, tuple(stretched[part] for part in stretches if len(part))


def _prepared(part: NDArray[np.float32], training: TrainingConfig) -> NDArray[np.float32]:
    """Return windows as training takes them: without infinite values, and held where that is asked for."""
    if training.impute is None:
        return part
    part[np.isinf(part)] = np.nan
    return held(part) if training.impute == "last" and bool(np.isnan(part).any()) else part


def _require_finite(
    rows: NDArray[np.float64], names: tuple[str, ...], training: TrainingConfig, source: str
) -> None:
    missing = ~np.isfinite(rows)
    if training.impute is None and missing.any():
        found = [name for name, column in zip(names, missing.T, strict=True) if column.any()]
        raise InputError(
            f"{source}: missing or infinite values in {few(found, 10)}; fill them with --impute last (the last "
            f"value in a window), mean or median, or leave them out with {command_option('drop', found)}"
        )


def _standardise(part: NDArray[np.float32], flat: Statistics) -> Tensor:
    """Return windows as flat rows of the network, (windows, window * channels); NaN stays."""
    made = np.empty((len(part), math.prod(part.shape[1:])), np.float32)
    for start in range(0, len(part), _BLOCK):
        block = part[start : start + _BLOCK].reshape(-1, made.shape[1]).astype(np.float64)
        made[start : start + _BLOCK] = (block - flat.mean) / flat.scale
    return torch.from_numpy(made)


def _held_out(trained: TrainedAutoencoder, normal: NDArray[np.float32], anomalies: NDArray[np.float32]) -> HeldOut:
    """Return scores of the held-out windows, and golden ones: their spread, and known anomalies."""
    module = trained.module(torch.float64)

    def scores_of(part: NDArray[np.float32]) -> NDArray[np.float64]:
        if not len(part):
            return np.empty(0)
        return evaluate_rows(module, part, torch.float64, _BLOCK)["score"]

    scores = scores_of(normal)
    normal, scores = normal[~np.isnan(scores)], scores[~np.isnan(scores)]
    order = np.argsort(scores)
    golden = normal[order[evenly(len(normal), _GOLDEN_NORMAL)]]
    odd = anomalies[scores_of(anomalies) < _COMPARABLE]
    if len(odd):
        golden = np.concatenate([golden, odd[evenly(len(odd), _GOLDEN_ANOMALIES)]])
    return HeldOut(golden, scores[order])


def _row_scores(trained: TrainedAutoencoder, stretches: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the finite scores of the rows of stretches, ascending.

    Rows at the ends of a stretch have fewer windows than most rows of a log, and their scores vary more. They are
    left out where enough others are there; where there are few rows, each shows another part of what is normal.
    """
    assert trained.series is not None
    window, stride = trained.series.window, trained.series.stride
    module = trained.module(torch.float64)
    inner, ends = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    for stretch in stretches:
        rows, parts = RowScores(window, stride), []
        for begin in range(0, len(stretch), _BLOCK):
            outputs = evaluate_rows(module, stretch[begin : begin + _BLOCK], torch.float64, _BLOCK)
            parts.append(rows.add(*by_moment(outputs["contribution"])).score)
        scores = np.concatenate([*parts, rows.end().score])
        edge = min(max(0, window - stride), len(scores) // 2)
        inner.append(scores[edge : len(scores) - edge])
        ends += [scores[:edge], scores[len(scores) - edge :]]
    scores = np.concatenate(inner if sum(map(len, inner)) >= _ENOUGH_ROWS else inner + ends)
    return np.sort(scores[np.isfinite(scores)]).astype(np.float64)
