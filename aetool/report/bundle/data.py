"""`portray`: run a bundle over some rows and collect the data of its page."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.baseline import FeatureBaseline, read_baseline
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.bundle.images import Shape, shown_shape
from aetool.bundle.manifest import SEGMENTER
from aetool.checks.drift import Drift, measure_drift
from aetool.checks.evaluation import finite_last, operating_points, ranking
from aetool.errors import DependencyError, InputError
from aetool.report.bundle._explained_data import Texts, error_grid_of, explained
from aetool.report.bundle._images import change_of, image_of
from aetool.report.bundle._signal_data import signals_of
from aetool.report.bundle.records import (
    LARGEST,
    ColumnChange,
    Curves,
    EmbeddingMap,
    LogEvents,
    MapPoint,
    Picture,
    Portrait,
    ScoreHistogram,
    Sweep,
)
from aetool.report.draw.units import figure
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import AutoencoderSession, load

# Embeddings in two dimensions.

Floats = NDArray[np.float64]
Method = Literal["pca", "umap"]
LIMIT = 3.0
"""Clipping of embeddings, in standard deviations, as in segments: otherwise a few extreme
rows would squeeze all others into one place."""
LEAST_ROWS = 3


def project(embedding: NDArray[Any], method: Method) -> tuple[Floats, str]:
    """Project finite embeddings (rows, ...) to (rows, 2), from 0 to 1; also return the method in words.

    Raises:
        DependencyError: UMAP is asked for and `umap-learn` is not installed.
    """
    flat = embedding.reshape(len(embedding), -1).astype(np.float64)
    spread = flat.std(axis=0)
    z = np.clip((flat - flat.mean(axis=0)) / np.where(spread > 0, spread, 1.0), -LIMIT, LIMIT)
    if method == "umap":
        return _to_unit(_umap(z)), "UMAP (McInnes et al. 2018), seed 0"
    places, explained = _pca(z)
    return _to_unit(places), f"the first two principal components, {explained * 100:.0f} % of the variance"


def _pca(z: Floats) -> tuple[Floats, float]:
    centred = z - z.mean(axis=0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component means nothing: fixed, so that the same rows give the same picture.
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    places = np.zeros((len(z), 2))
    count = min(2, len(singular))
    places[:, :count] = (left * singular * signs)[:, :count]
    total = float((singular**2).sum())
    return places, float((singular[:2] ** 2).sum()) / total if total else 1.0


def _umap(z: Floats) -> Floats:
    try:
        import umap  # noqa: PLC0415 - an optional package, slow to import
    except ImportError as error:
        raise DependencyError("umap-learn", "umap", "a map by UMAP") from error
    # Neighbours: UMAP's default of 15, fewer where there are not as many rows.
    neighbours = min(15, len(z) - 1)
    places = umap.UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(z)
    return np.asarray(places, np.float64)


def _to_unit(places: Floats) -> Floats:
    low, high = places.min(axis=0), places.max(axis=0)
    unit: Floats = (places - low) / np.where(high > low, high - low, 1.0)
    return unit


# The scores of some rows: their histogram, and what every threshold would do.

Labels = NDArray[np.bool_]
_STOPS = 401
_FEWEST_BINS, _MOST_BINS = 12, 80
MOST_CURVE_POINTS = 300
"""Most points of a curve."""
_LEAST_SHARE = 1e-3
"""Lower end of the axis, as a share of the median score."""
_BEYOND = 100.0
"""Factor beyond the scores up to which an axis shows a threshold."""


def axis(score: Floats, threshold: float) -> tuple[float, float]:
    """Return the ends of a logarithmic axis for scores of 0 or more and their threshold."""
    finite = score[np.isfinite(score) & (score > 0)]
    if not finite.size:
        finite = np.array([threshold if threshold > 0 else 1.0])
    low = max(float(finite.min()), _LEAST_SHARE * float(np.median(finite)))
    high = float(finite.max())
    if 0 < threshold < LARGEST:
        low, high = min(low, max(threshold, low / _BEYOND)), max(high, min(threshold, high * _BEYOND))
    return low / 1.2, high * 1.2


def sweep(score: Floats, threshold: float, labels: Labels | None) -> Sweep:
    """Count flagged rows per threshold; NaN in `score` (rows,) is above every threshold."""
    thresholds = np.geomspace(*axis(score, threshold), _STOPS)
    own = int(np.argmin(np.abs(np.log(thresholds / threshold)))) if threshold > 0 else 0  # the last if none is set
    thresholds[own] = threshold
    hits = None if labels is None else tuple(_above(score[labels], thresholds).tolist())
    return Sweep(tuple(thresholds.tolist()), own, tuple(_above(score, thresholds).tolist()), hits)


def histogram(score: Floats, threshold: float, labels: Labels | None) -> ScoreHistogram:
    """Bin `score` (rows,), NaN left out."""
    # The Rice rule: 12 bins for 100 rows, 20 for 1,000, 43 for 10,000.
    bins = round(2 * np.count_nonzero(np.isfinite(score)) ** (1 / 3))
    edges = np.geomspace(*axis(score, threshold), min(max(bins, _FEWEST_BINS), _MOST_BINS) + 1)
    if labels is None:
        return ScoreHistogram(tuple(edges.tolist()), _counts(score, edges), None)
    return ScoreHistogram(tuple(edges.tolist()), _counts(score[~labels], edges), _counts(score[labels], edges))


def curves(score: Floats, labels: Labels) -> Curves | None:
    """Return ROC and precision-recall, equal scores as one step; None where labels are of one kind.

    Average precision is the sum of precision times gain of recall.
    """
    if labels.all() or not labels.any():
        return None
    hits, flagged = operating_points(score, labels)
    recall, precision = hits / labels.sum(), hits / flagged
    false_positives = (flagged - hits) / (~labels).sum()
    roc = np.vstack([[0.0, 0.0], np.column_stack([false_positives, recall])])
    return Curves(
        _thinned(roc),
        _thinned(np.vstack([[0.0, precision[0]], np.column_stack([recall, precision])])),
        **ranking(score, labels),
    )


def _above(score: Floats, thresholds: Floats) -> NDArray[np.int64]:
    ordered = np.sort(finite_last(score))
    return np.asarray(len(ordered) - np.searchsorted(ordered, thresholds, side="right"), np.int64)


def _counts(score: Floats, edges: Floats) -> tuple[int, ...]:
    inside = np.clip(score[np.isfinite(score)], edges[0], edges[-1])
    return tuple(np.histogram(inside, edges)[0].tolist())


def _thinned(points: Floats) -> tuple[tuple[float, float], ...]:
    """Thin the points to MOST_CURVE_POINTS, even along the curve; the ends stay."""
    if len(points) > MOST_CURVE_POINTS:
        way = np.append(0.0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1)))
        places = np.searchsorted(way, np.linspace(0.0, way[-1], MOST_CURVE_POINTS))
        points = points[np.unique(np.append(places.clip(max=len(points) - 1), len(points) - 1))]
    return tuple((float(x), float(y)) for x, y in points)


MOST_POINTS = 3000
MOST_LETTERS = 60
"""Most letters of a kept value: a page shows thousands of rows."""


def portray(
    path: str | Path,
    rows: Any = None,
    labels: Any = None,
    *,
    kept: Mapping[str, NDArray[Any]] | None = None,
    log_events: LogEvents | None = None,
    source: str = "the rows given",
    trained_on: bool | None = None,
    provider: ProviderName = "auto",
    precision: str = "auto",
    threshold: float | None = None,
    method: Method = "pca",
    limits: Limits = DEFAULT_LIMITS,
) -> Portrait:
    """Run the bundle at `path` over `rows`, and collect the data of its page.

    Args:
        path: the bundle.
        rows: (rows, n_features) in raw units, or columns by name; None: the golden rows of the bundle.
        labels: (rows,) not 0 for anomalies.
        kept: columns, (rows,) each, that tell people which row it is, such as an id.
        log_events: events of the log that `rows` are windows of, see `log_events.events_of`.
        source: what to call the rows.
        provider: execution provider, see `load`.
        precision: one that the bundle has.
        threshold: the one to show; None for the bundle's.
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
    with load(path, provider=provider, precision=precision, threshold=threshold, limits=limits) as model:
        rows = model.to_rows(rows).reshape(-1, *model.input_shape)
        if len(rows) == 0:
            raise InputError("report: expected one row or more, found none; give a table with rows")
        score = model.score(rows).astype(np.float64)
        worst, best = explained(model, rows, score, labels, texts, kept)
        groups = [] if log_events is None else [event.group for event in log_events.events]
        signals, left_out = signals_of(model, rows, score, kept, labels, groups)
        always = [row.number for row in (*worst, *best)]
        shape = shown_shape(model.manifest)
        drift = None if is_golden else _drift(path, rows, labels, model, limits)
        return Portrait(
            manifest=model.manifest,
            provider=model.provider,
            precision=model.precision,
            threshold=model.threshold,
            place=_place(path),
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
            errors=error_grid_of(model, rows, score),
            embedding_map=_map(model, rows, score, labels, texts, always, method),
            kept=tuple(kept),
            drift=None if drift is None else {"drifted": drift.drifted, **asdict(drift)},
            signals=signals,
            signals_left_out=left_out,
            log_events=log_events,
            changes=() if drift is None or shape is not None else _changes(bundle, _normal(rows, labels), drift),
            drift_image=None
            if drift is None or shape is None
            else _drift_image(drift, model.feature_names, shape),
            segment_images=() if shape is None else _segment_images(model, rows, shape),
        )


def _place(path: str | Path) -> str:
    """Return the path from the current directory; of a bundle elsewhere the name alone: pages are shared."""
    absolute = Path(path).absolute()
    inside = absolute.is_relative_to(Path.cwd())
    return absolute.relative_to(Path.cwd()).as_posix() if inside else absolute.name


def _texts(kept: Mapping[str, NDArray[Any]], number: int) -> tuple[str, ...]:
    return tuple(str(column[number])[:MOST_LETTERS] for column in kept.values())


def _map(
    model: AutoencoderSession,
    rows: NDArray[Any],
    score: NDArray[np.float64],
    labels: NDArray[np.bool_] | None,
    texts: Texts,
    always: list[int],
    method: Method,
) -> EmbeddingMap | None:
    """Map a sample of the rows, the same every time, and the rows `always`."""
    if model.manifest.embedding_shape is None:
        return None
    drawn = np.random.default_rng(0).permutation(len(rows))[:MOST_POINTS]
    chosen = np.union1d(drawn, np.array(always, np.int64)).astype(np.int64)
    embedding = model.encode(rows[chosen])
    finite = np.isfinite(embedding.reshape(len(chosen), -1)).all(axis=1)
    chosen, embedding = chosen[finite], embedding[finite]
    if len(chosen) < LEAST_ROWS:
        return None
    places, words = project(embedding, method)
    segment = model.segment(rows[chosen]).tolist() if SEGMENTER in model.graphs else [None] * len(chosen)
    points = (
        MapPoint(
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
    return EmbeddingMap(words, tuple(points), len(rows))


def _normal(rows: NDArray[Any], labels: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return the rows that are not labelled anomalies."""
    return rows if labels is None else rows[~labels]


def _drift(
    path: str | Path,
    rows: NDArray[Any],
    labels: NDArray[np.bool_] | None,
    model: AutoencoderSession,
    limits: Limits,
) -> Drift | None:
    """Compute the drift of rows that are not labelled anomalies; None where all are."""
    normal = _normal(rows, labels)
    if not len(normal):
        return None
    return measure_drift(path, normal, provider=model.provider, precision=model.precision, limits=limits)


# Pixels of rows that are images: their drift, and those of a typical row of each segment.


def _drift_image(drift: Drift, names: tuple[str, ...], shape: Shape) -> Picture | None:
    """Return the drift of each pixel; None where pixels are no columns."""
    psi = {feature.name: feature.psi for feature in drift.features}
    return change_of(np.array([psi[name] for name in names]).reshape(shape)) if psi else None


def _segment_images(model: AutoencoderSession, rows: NDArray[Any], shape: Shape) -> tuple[Picture | None, ...]:
    """Return the mean of the rows of each segment, all on one scale; None where there are none."""
    if SEGMENTER not in model.graphs:
        return ()
    segment = model.segment(rows)
    members = [rows[segment == number] for number in range(len(model.manifest.segments["segments"]))]
    means = [own.mean(axis=0, dtype=np.float64).reshape(shape) if len(own) else None for own in members]
    values = np.concatenate([mean.ravel() for mean in means if mean is not None] or [np.zeros(1)])
    low, high = float(values.min()), float(values.max())
    return tuple(None if mean is None else image_of(mean, low, high) for mean in means)


# Distributions of the columns that drifted, in the bins of baseline.json.

_MOST_COLUMNS, _MOST_CATEGORIES = 9, 10


def _changes(bundle: Bundle, rows: NDArray[Any], drift: Drift) -> tuple[ColumnChange, ...]:
    """Return the columns of (rows, n_features) that drifted; none where the bundle has no baseline."""
    baseline = read_baseline(bundle)
    if baseline is None:
        return ()
    columns = {feature.name: (feature, rows[:, i]) for i, feature in enumerate(baseline.features)}
    changed = [column.name for column in drift.features if column.verdict in ("drift", "moderate")]
    categories = bundle.manifest.categories
    return tuple(_change(*columns[name], categories.get(name, ())) for name in changed[:_MOST_COLUMNS])


def _change(feature: FeatureBaseline, column: NDArray[Any], categories: tuple[str, ...]) -> ColumnChange:
    values = column.astype(np.float64)
    now = [count / len(values) for count in feature.counts_of(values).tolist()]
    before = list(feature.shares)
    if feature.categories is not None:
        names = [*categories, "other values", "missing"]
    else:
        edges = [figure(edge) for edge in feature.edges]
        names = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        names = [f"up to {edges[0]}", *names, f"above {edges[-1]}", "missing"] if edges else ["values", "missing"]
        if feature.range is not None:
            # Values beyond those of the training rows are shown apart.
            low, high = feature.range
            below, above = (float(np.mean(beyond)) for beyond in (values < low, values > high))
            names = [f"below {figure(low)}: new", *names[:-1], f"above {figure(high)}: new", names[-1]]
            before = [0.0, *before[:-1], 0.0, before[-1]]
            now = [below, *now[:-1], above, now[-1]]
            now[1] -= below
            now[-3] -= above
    shown = [i for i in range(len(names)) if before[i] > 0 or now[i] > 0]
    if len(shown) > _MOST_CATEGORIES and feature.categories is not None:
        shown = sorted(sorted(shown, key=lambda i: -abs(now[i] - before[i]))[:_MOST_CATEGORIES])
    return ColumnChange(
        feature.name,
        tuple(names[i] for i in shown),
        tuple(before[i] for i in shown),
        tuple(now[i] for i in shown),
    )
