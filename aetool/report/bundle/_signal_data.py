"""Signals of a log, one a group, around its worst window: score, channels and their contributions, over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.report.bundle.records import Signal, SignalChannel
from aetool.runtime.session import AutoencoderSession

_BINS = 120
"""Most places along the time."""
_WINDOWS = 4000
"""Most windows that are explained."""
_BLOCK = 512
_GROUPS = 4
"""Most groups that are drawn."""
_DRAWN, _LISTED = 5, 12
"""Channels with a picture of their own, and in the picture of contributions."""


def signals_of(
    model: AutoencoderSession,
    rows: NDArray[Any],
    score: NDArray[np.float64],
    kept: Mapping[str, NDArray[Any]],
    labels: NDArray[np.bool_] | None = None,
    groups: Sequence[str | None] = (),
) -> tuple[tuple[Signal, ...], int]:
    """Return the signals of some groups, the highest score first, and how many are left out.

    Without such groups, that of the group with the highest score; none where rows are no windows of a log.

    Args:
        model: explains the windows.
        rows: (windows, window, channels), those of a group in the order of their time.
        score: (windows,)
        kept: `start` and `end` of each window, and `group` where there are groups.
        labels: (windows,) whether a row of it is labelled as an anomaly.
        groups: those with events.
    """
    finite = np.isfinite(score)
    if model.manifest.series is None or "start" not in kept or not finite.any():
        return (), 0
    height = np.where(finite, score, -np.inf)
    whose = kept.get("group", np.zeros(len(rows), np.intp))
    is_wanted = np.isin(whose, [str(group) for group in groups]) if "group" in kept else np.ones(len(rows), bool)
    height = np.where(is_wanted | (not is_wanted.any()), height, -np.inf)
    order = np.argsort(-height, kind="stable")
    _, first = np.unique(whose[order], return_index=True)
    worst = [place for place in order[np.sort(first)].tolist() if height[place] > -np.inf]
    shown = worst[:_GROUPS] if is_wanted.any() else worst[:1]
    signals = tuple(_signal(model, rows, score, kept, labels, whose == whose[place], place) for place in shown)
    return signals, len(worst) - len(shown) if is_wanted.any() else 0


def _signal(
    model: AutoencoderSession,
    rows: NDArray[Any],
    score: NDArray[np.float64],
    kept: Mapping[str, NDArray[Any]],
    labels: NDArray[np.bool_] | None,
    is_own: NDArray[np.bool_],
    worst: int,
) -> Signal:
    """Return the signal of a group around its worst window."""
    series = model.manifest.series
    assert series is not None
    group = str(kept["group"][worst]) if "group" in kept else None
    own = np.flatnonzero(is_own)
    first = max(0, min(int(np.searchsorted(own, worst)) - _WINDOWS // 2, len(own) - _WINDOWS))
    own = own[first : first + _WINDOWS]
    bins = np.array_split(own, min(_BINS, len(own)))
    flagged = ~(score <= model.threshold)
    contribution = _by_channel(model, rows, own)
    at = np.searchsorted(own, [part[0] for part in bins])
    # The largest of a bin, so that no peak is lost.
    heat = np.maximum.reduceat(contribution, at, axis=0)
    order = np.argsort(-contribution[flagged[own]].sum(axis=0) - 1e-9 * contribution.sum(axis=0), kind="stable")
    names = model.feature_names
    scale = model.threshold if np.isfinite(model.threshold) and model.threshold > 0 else float(heat.max() or 1.0)
    channels = []
    for rank, channel in enumerate(order[:_LISTED].tolist()):
        parts = [rows[part, : series.stride, channel].astype(np.float64) for part in bins] if rank < _DRAWN else []
        low, high = ([_end(part, reduce) for part in parts] for reduce in (np.min, np.max))
        shares = tuple(np.minimum(heat[:, channel] / scale, 1.0).tolist())
        channels.append(SignalChannel(names[channel], tuple(low), tuple(high), shares))
    highest = np.where(np.isfinite(score), score, np.nan)
    return Signal(
        group=group,
        start=str(kept["start"][own[0]]),
        end=str(kept["end"][own[-1]]),
        starts=tuple(str(kept["start"][part[0]]) for part in bins),
        windows=len(own),
        score=tuple(_end(highest[part], np.max) for part in bins),
        flagged=tuple(bool(flagged[part].any()) for part in bins),
        labelled=()
        if labels is None
        else tuple(bool(part.any()) for part in np.split(_rows(labels, own, kept), at[1:])),
        breaks=tuple(np.unique(np.searchsorted(at, _gaps(own, kept), side="right") - 1).tolist()),
        channels=tuple(channels),
        left_out=max(0, len(names) - _LISTED),
    )


def _gaps(own: NDArray[np.intp], kept: Mapping[str, NDArray[Any]]) -> NDArray[np.intp]:
    """Return the places of windows that begin after a gap; of windows that do not overlap it is not known."""
    start, end = kept["start"][own], kept["end"][own]
    apart = np.flatnonzero(start[1:] > end[:-1]) + 1
    return apart if len(apart) < len(own) // 2 else np.empty(0, np.intp)


def _rows(labels: NDArray[np.bool_], own: NDArray[np.intp], kept: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return, for each window of a group, whether the rows that it begins with are labelled.

    They are in the windows before it too, as far as these overlap: all of them are then labelled.
    """
    overlap = int((kept["start"][own] <= kept["end"][own[0]]).sum())
    found = labels[own].copy()
    for back in range(1, min(overlap, len(own))):
        found[back:] &= labels[own[:-back]]
    return found


def _by_channel(model: AutoencoderSession, rows: NDArray[Any], own: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return contributions summed over the time of each window, (windows, channels); zeros without explainer."""
    if "explainer" not in model.graphs:
        return np.zeros((len(own), rows.shape[2]))
    blocks = [own[start : start + _BLOCK] for start in range(0, len(own), _BLOCK)]
    found = [model.explain(np.ascontiguousarray(rows[block])).contribution.sum(axis=1) for block in blocks]
    return np.nan_to_num(np.concatenate(found).astype(np.float64), nan=0.0, posinf=0.0)


def _end(values: NDArray[np.float64], reduce: Any) -> float | None:
    finite = values[np.isfinite(values)]
    return float(reduce(finite)) if finite.size else None
