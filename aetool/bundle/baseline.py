"""The content of baseline.json: a summary of the rows that a model was made for, with which `drift` compares."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import Manifest
from aetool.bundle.schema import Count, Size, Source
from aetool.errors import BundleError

BASELINE = "baseline.json"
BINS = 10
MOST_SCORES = 2000
"""Number of scores that are kept: quantiles, where there are more."""


@dataclass(frozen=True, slots=True)
class FeatureBaseline:
    """One column, in bins."""

    name: str
    shares: tuple[float, ...]
    """Share of all rows in each bin; see `counts_of`."""
    edges: tuple[float, ...] = ()
    """Edges for numbers: bin i holds what lies above edges[i - 1] and up to edges[i]."""
    range: tuple[float, float] | None = None
    """Smallest and largest value; None for categories, and where there is no value."""
    categories: Count | None = None
    """Number of categories, for a column that holds their indexes."""

    def counts_of(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Count the (rows,) values in each bin: between the edges, or by category and all others; then missing."""
        missing = np.isnan(values)
        if self.categories is None:
            places = np.searchsorted(np.asarray(self.edges), values, side="left")
            last = len(self.edges) + 1
        else:
            known = np.isin(values, np.arange(self.categories))
            places = np.where(known, np.nan_to_num(values), self.categories).astype(np.int64)
            last = self.categories + 1
        return np.bincount(np.where(missing, last, places), minlength=last + 1)

    @property
    def median(self) -> float | None:
        """Median of numbers, the lower of two in the middle; None for categories, and where there is no value."""
        inside = np.cumsum(self.shares[:-1])  # without the missing
        if not self.edges or inside[-1] <= 0:
            return None
        place = int(np.searchsorted(inside, inside[-1] * (0.5 - 1e-12)))
        return self.edges[min(place, len(self.edges) - 1)]

    def outside(self, values: NDArray[Any]) -> int:
        """Count the (rows,) values that lie outside the range, or are none of the categories."""
        if self.categories is not None:
            return int(self.counts_of(values)[self.categories])
        if self.range is None:
            return int(np.count_nonzero(~np.isnan(values)))
        return int(np.count_nonzero((values < self.range[0]) | (values > self.range[1])))


@dataclass(frozen=True, slots=True)
class Baseline:
    """Features and scores of the rows that a model was made for."""

    of: str
    """Name of the rows, for people."""
    rows: Count
    """Number of rows behind `features`."""
    features: tuple[FeatureBaseline, ...]
    """None for images and windows, of which scores alone are compared."""
    score_rows: Size
    """Number of rows that `scores` stand for."""
    scores: tuple[float, ...]
    """Scores of normal rows, ascending."""
    row_scores: tuple[float, ...] = ()
    """Scores of the rows of a log, ascending, of whose windows `scores` are; none where rows are no windows."""

    def to_json(self) -> str:
        """Return the content of baseline.json."""
        content = asdict(self)
        if not self.row_scores:
            del content["row_scores"]
        return json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n"


def features_of(
    rows: NDArray[Any], names: Sequence[str], categories: Mapping[str, Sequence[str]]
) -> tuple[FeatureBaseline, ...]:
    """Bin each column of (rows, n_features), raw units, at its deciles."""
    with np.errstate(over="ignore"):
        columns = rows.astype(np.float32).astype(np.float64).T  # as a model is given them
    return tuple(
        _feature(name, column, len(categories[name]) if name in categories else None)
        for name, column in zip(names, columns, strict=True)
    )


def baseline_of(
    of: str,
    rows: int,
    features: Sequence[FeatureBaseline],
    scores: NDArray[np.float64],
    row_scores: NDArray[np.float64] | None = None,
) -> Baseline:
    """Return a baseline; `scores` are those of normal rows that were not trained on, where there are such.

    If those are windows of a log, `row_scores` are those of its rows.
    """
    of_rows = () if row_scores is None else _kept(row_scores)
    return Baseline(of, rows, tuple(features), int(np.isfinite(scores).sum()), _kept(scores), of_rows)


def _kept(scores: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the finite scores, ascending; quantiles, where there are more than are kept."""
    kept = np.sort(scores[np.isfinite(scores)])
    if len(kept) > MOST_SCORES:
        kept = kept[np.linspace(0, len(kept) - 1, MOST_SCORES).round().astype(int)]
    return tuple(kept.tolist())


def read_baseline(bundle: Bundle) -> Baseline | None:
    """Read the baseline of a bundle; None where it was exported without one.

    Raises:
        BundleError: damaged, or of another model.
    """
    if BASELINE not in bundle.manifest.files:
        return None
    where = str(bundle.path / BASELINE)
    if (size := bundle.manifest.files[BASELINE].size) > bundle.limits.json_bytes:
        raise BundleError(f"{where}: {bundle.limits.excess('json_bytes', f'{size:,} bytes')}")
    source = Source(where)
    baseline = source.read(Baseline, source.parse(bundle.read(BASELINE)))
    _require_fit(baseline, bundle.manifest, where)
    return baseline


def column_names(manifest: Manifest) -> tuple[str, ...]:
    """Return names of the rows' columns, made up where they have none; empty where rows are images or windows."""
    if len(manifest.input_shape) != 1:
        return ()
    return manifest.feature_names or tuple(f"X_{i}" for i in range(manifest.input_shape[0]))


def _feature(name: str, column: NDArray[np.float64], categories: int | None) -> FeatureBaseline:
    finite = column[np.isfinite(column)]
    edges: tuple[float, ...] = ()
    ends = None
    if categories is None and finite.size:
        inner = np.quantile(finite, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
        edges, ends = tuple(np.unique(inner).tolist()), (float(finite.min()), float(finite.max()))
    counts = FeatureBaseline(name, (), edges, ends, categories).counts_of(column)
    shares = tuple((counts / max(len(column), 1)).tolist())
    return FeatureBaseline(name, shares, edges, ends, categories)


def _require_fit(baseline: Baseline, manifest: Manifest, where: str) -> None:
    names = tuple(feature.name for feature in baseline.features)
    fit = not names or names == column_names(manifest)
    for feature in baseline.features:
        bins = (len(feature.edges) if feature.categories is None else feature.categories) + 2
        known = len(manifest.categories[feature.name]) if feature.name in manifest.categories else None
        ascending = bool(np.all(np.diff(feature.edges) > 0))
        fit = fit and len(feature.shares) == bins and known == feature.categories and ascending
    if not fit or any(np.any(np.diff(scores) < 0) for scores in (baseline.scores, baseline.row_scores)):
        raise BundleError(f"{where}: does not fit the features of its bundle; export the bundle again")
