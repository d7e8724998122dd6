"""`portray`: run a bundle over some rows, and keep what a page shows of it."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle import Bundle
from aetool.drift import measure_drift
from aetool.errors import InputError
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.manifest import SEGMENTER
from aetool.portrait.explained import Texts, explained_rows
from aetool.portrait.projection import LEAST_ROWS, Method, project
from aetool.portrait.records import EmbeddingMap, ExplainedRow, Point, Portrait
from aetool.portrait.scores import curves, histogram, sweep
from aetool.runtime.autoencoder import AutoencoderSession, load
from aetool.runtime.providers import ProviderName
from aetool.selftest import read_golden

MOST_POINTS = 3000
WORST, BEST = 6, 3
MOST_LETTERS = 60
"""Of what is kept: a page shows thousands of rows."""


def portray(
    path: str | Path,
    rows: Any = None,
    labels: Any = None,
    *,
    kept: Mapping[str, NDArray[Any]] | None = None,
    source: str = "the rows given",
    trained_on: bool | None = None,
    provider: ProviderName = "auto",
    precision: str = "auto",
    method: Method = "pca",
    limits: Limits = DEFAULT_LIMITS,
) -> Portrait:
    """What the bundle at `path` does with `rows`.

    Args:
        rows: (rows, n_features) in raw units, or columns by name; None: the golden rows of the bundle.
        labels: (rows,) not 0 for anomalies.
        kept: columns, (rows,) each, that tell people which row it is, such as an id.
        source: what to call the rows.
        trained_on: whether the model was trained on these very rows; None: not known.
        method: how embeddings are brought to two dimensions.
        limits: how much is read of the bundle, see `load`.

    Raises:
        InputError: no rows, or rows of another shape.
        BundleError: no bundle, or a damaged one.
        DependencyError: UMAP is asked for and not installed.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    is_golden = rows is None
    labels = None if labels is None else np.asarray(labels, dtype=bool)
    if rows is None:
        rows, source = read_golden(bundle)["features"], "the golden rows that come with the bundle"
    kept = kept or {}
    texts = partial(_texts, kept)
    with load(path, provider=provider, precision=precision, limits=limits) as model:
        rows = model.to_rows(rows).reshape(-1, *model.input_shape)
        if len(rows) == 0:
            raise InputError("report: expected one row or more, found none; give a table with rows")
        score = model.score(rows).astype(np.float64)
        worst, best = _explained(model, rows, score, labels, texts)
        always = [row.number for row in (*worst, *best)]
        return Portrait(
            manifest=model.manifest,
            provider=model.provider,
            precision=model.precision,
            threshold=model.threshold,
            source=source,
            is_golden=is_golden,
            trained_on=trained_on,
            rows=len(rows),
            without_score=int(np.count_nonzero(~np.isfinite(score))),
            anomalies=None if labels is None else int(labels.sum()),
            sweep=sweep(score, model.threshold, labels),
            histogram=histogram(score, model.threshold, labels),
            curves=None if labels is None else curves(score, labels),
            worst=worst,
            best=best,
            embedding_map=_map(model, rows, score, labels, texts, always, method),
            kept=tuple(kept),
            drift=None if is_golden else _drift(path, rows, labels, model, limits),
        )


def _texts(kept: Mapping[str, NDArray[Any]], number: int) -> tuple[str, ...]:
    return tuple(str(column[number])[:MOST_LETTERS] for column in kept.values())


def _explained(
    model: AutoencoderSession,
    rows: NDArray[Any],
    score: NDArray[np.float64],
    labels: NDArray[np.bool_] | None,
    texts: Texts,
) -> tuple[tuple[ExplainedRow, ...], tuple[ExplainedRow, ...]]:
    """The worst and the best rows, of those whose score is a number."""
    if "explainer" not in model.graphs:
        return (), ()
    order = np.argsort(score, kind="stable")
    order = order[np.isfinite(score[order])]
    worst = order[::-1][:WORST]
    best = order[: max(0, min(BEST, len(order) - len(worst)))]
    worst_rows, best_rows = (explained_rows(model, rows, chosen, score, labels, texts) for chosen in (worst, best))
    return worst_rows, best_rows


def _map(
    model: AutoencoderSession,
    rows: NDArray[Any],
    score: NDArray[np.float64],
    labels: NDArray[np.bool_] | None,
    texts: Texts,
    always: list[int],
    method: Method,
) -> EmbeddingMap | None:
    """Of rows drawn at random, the same every time, and those `always` shown."""
    if model.manifest.embedding_shape is None:
        return None
    drawn = np.random.default_rng(0).permutation(len(rows))[:MOST_POINTS]
    chosen = np.union1d(drawn, np.array(always, np.int64)).astype(np.int64)
    embedding = model.encode(rows[chosen])
    finite = np.isfinite(embedding.reshape(len(chosen), -1)).all(axis=1)
    chosen, embedding = chosen[finite], embedding[finite]
    if len(chosen) < LEAST_ROWS:
        return None
    places, told = project(embedding, method)
    segment = model.segment(rows[chosen]).tolist() if SEGMENTER in model.graphs else [None] * len(chosen)
    points = (
        Point(
            float(x),
            float(y),
            int(number),
            float(score[number]) if np.isfinite(score[number]) else None,
            not score[number] <= model.threshold,
            None if labels is None else bool(labels[number]),
            group,
            texts(int(number)),
        )
        for (x, y), number, group in zip(places, chosen, segment, strict=True)
    )
    return EmbeddingMap(told, tuple(points), len(rows))


def _drift(
    path: str | Path,
    rows: NDArray[Any],
    labels: NDArray[np.bool_] | None,
    model: AutoencoderSession,
    limits: Limits,
) -> dict[str, Any] | None:
    """Of the rows that are not labelled anomalies; None where all are."""
    normal = rows if labels is None else rows[~labels]
    if not len(normal):
        return None
    found = measure_drift(path, normal, provider=model.provider, precision=model.precision, limits=limits)
    return {"drifted": found.drifted, **asdict(found)}
