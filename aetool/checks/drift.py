"""Drift: a comparison of new rows with those that a model was made for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.baseline import Baseline, FeatureBaseline, baseline_of, column_names, features_of, read_baseline
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import Manifest
from aetool.errors import InputError
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import load

MODERATE_PSI, LARGE_PSI = 0.1, 0.25
"""Below the first nothing has changed, above the second much has (Siddiqi, Credit Risk Scorecards, 2006)."""
MOST_OUTSIDE = 0.05
"""Share of values outside the range, or of unseen categories, from which a column has drifted."""
LARGE_DISTANCE, MOST_CHANCE = 0.1, 0.001
"""Kolmogorov-Smirnov distance from which scores have drifted, unless chance gives it oftener than that; the
columns share that chance for their PSI (Bonferroni)."""

FEWEST_ROWS = 30
"""Fewest rows for which "no drift" means something."""

Verdict = Literal["stable", "moderate", "drift", "unclear"]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """Drift of one column."""

    name: str
    verdict: Verdict
    psi: float
    """Population stability index: sum over bins of (share now - share before) * log(share now / share before)."""
    psi_by_chance: float
    """PSI that so many rows of the same distribution exceed in MOST_CHANCE of all cases (Yurdakul & Naranjo
    2020)."""
    outside: float
    """Share of values outside the range, or of categories, that the model was made for."""
    missing: float
    missing_before: float
    """Shares of values that are missing."""
    change: str
    """The largest change, in words: `typical 444 -> 1,466`. Typical is the median."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of a set of rows."""

    rows: int
    too_few_rows: bool
    """True below FEWEST_ROWS: drift that was found stands, but "none found" means little."""
    compared_with: str
    """Rows that the new ones are compared with, and their number."""
    has_baseline: bool
    """False: the bundle was exported without one, and its golden rows stand in for it."""
    reasons: tuple[str, ...]
    """Reasons why it is drift, in words; empty where there is none."""
    flagged: float
    """Share of rows that are anomalies."""
    flagged_interval: Interval
    """Its 95 % interval (Wilson 1927)."""
    promised: float | None
    """Share of normal rows that the threshold was to flag; None where it was given as a number."""
    promised_interval: Interval | None
    """Its 95 % interval, from the rows that the threshold was chosen on."""
    score_distance: float
    """One-sided Kolmogorov-Smirnov distance: 0 where the scores are not higher than before, 1 where all are."""
    score_chance: float
    """Probability of such a distance by chance (its limit for many rows)."""
    features: tuple[FeatureDrift, ...]
    """The most changed first; none where rows are images or windows."""

    @property
    def drifted(self) -> bool:
        """True if there is a reason."""
        return bool(self.reasons)


def measure_drift(
    path: str | Path,
    rows: Any,
    *,
    provider: ProviderName = "auto",
    precision: str = "auto",
    limits: Limits = DEFAULT_LIMITS,
) -> Drift:
    """Compare new rows with the training rows of a bundle.

    `rows` are (rows, n_features) in raw units, or columns by name; `limits` are those of `load`.

    It reports drift when one of these holds:
    - a column's PSI is above LARGE_PSI, and above what chance explains;
    - more than MOST_OUTSIDE of a column are out of range or unseen categories, by the whole 95 % interval;
    - more rows are flagged than expected: the two 95 % intervals do not overlap;
    - the scores are higher than before: their distance is LARGE_DISTANCE or more, and not by chance.

    Raises:
        InputError: no rows, or rows of another shape.
        BundleError: there is no bundle, or it is damaged.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    with load(path, provider=provider, precision=precision, limits=limits) as model:
        rows = model.to_rows(rows).reshape(-1, *model.input_shape)
        if len(rows) == 0:
            raise InputError("drift: expected one row or more, found none; give new rows")
        found = model.run("detector", rows)
    baseline = read_baseline(bundle)
    compared = baseline_of_golden(bundle) if baseline is None else baseline
    flagged = int(np.count_nonzero(found["is_anomaly"]))
    interval, (promised, promised_interval) = wilson(flagged, len(rows)), promised_share(bundle.manifest)
    distance = _distance(np.asarray(compared.scores), found["score"].astype(np.float64))
    chance = _smirnov(distance, compared.score_rows, len(rows))
    categories = bundle.manifest.categories
    judged = [
        _feature(
            feature,
            rows[:, place].astype(np.float64),
            compared.rows,
            len(compared.features),
            categories.get(feature.name, ()),
        )
        for place, feature in enumerate(compared.features)
    ]
    features = [feature for feature, _ in judged]
    told = {feature.name: reason for feature, reason in judged}
    features.sort(key=lambda feature: (feature.verdict != "drift", -feature.psi))
    reasons = [told[feature.name] for feature in features if feature.verdict == "drift"]
    if promised_interval is not None and interval[0] > promised_interval[1]:
        reasons.append(f"{flagged / len(rows):.1%} of the rows are flagged, {promised:.1%} was expected")
    if distance >= LARGE_DISTANCE and chance <= MOST_CHANCE:
        reasons.append(f"the scores are higher than before (Kolmogorov-Smirnov distance {distance:.2f})")
    return Drift(
        rows=len(rows),
        too_few_rows=len(rows) < FEWEST_ROWS,
        compared_with=f"{compared.rows:,} {compared.of}",
        has_baseline=baseline is not None,
        reasons=tuple(reasons),
        flagged=flagged / len(rows),
        flagged_interval=interval,
        promised=promised,
        promised_interval=promised_interval,
        score_distance=distance,
        score_chance=chance,
        features=tuple(features),
    )


def wilson(count: int, of: int, chance: float = 0.05) -> Interval:
    """Return the interval of a share, by default of 95 %: Wilson's score interval (1927)."""
    z = NormalDist().inv_cdf(1 - chance / 2)
    share, weight = count / of, 1 + z * z / of
    middle = (share + z * z / (2 * of)) / weight
    half = z / weight * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (max(0.0, middle - half) if count else 0.0, min(1.0, middle + half) if count < of else 1.0)


def stability_index(before: NDArray[np.float64], rows_before: int, counts: NDArray[np.int64]) -> float:
    """Return the PSI of shares before and counts now, bin by bin; an empty bin counts as half a row."""
    rows = int(counts.sum())
    was, now = np.maximum(before, 0.5 / rows_before), np.maximum(counts / rows, 0.5 / rows)
    there = (before > 0) | (counts > 0)
    return float(np.sum(((now - was) * np.log(now / was))[there]))


def _feature(
    feature: FeatureBaseline,
    values: NDArray[np.float64],
    rows_before: int,
    columns: int,
    categories: Sequence[str],
) -> tuple[FeatureDrift, str]:
    """Compare a column with its baseline; return the comparison, and why it is drift, or an empty text."""
    counts, before = feature.counts_of(values), np.asarray(feature.shares)
    rows = len(values)
    psi = stability_index(before, rows_before, counts)
    bins = int(np.count_nonzero((before > 0) | (counts > 0)))
    chance = chi_square(bins - 1, MOST_CHANCE / columns) * (1 / rows + 1 / rows_before)
    outside = feature.outside(values)
    drifts = psi > max(LARGE_PSI, chance) or wilson(outside, rows)[0] > MOST_OUTSIDE
    moderate = psi > max(MODERATE_PSI, chance)
    missing, was_missing = float(counts[-1]) / rows, float(before[-1])
    changes = [changed(feature, values, categories)] if counts[:-1].any() and before[:-1].any() else []
    # Of the values alone, as if none were missing: else what is missing would pass for another distribution.
    present = before[:-1] / max(1 - was_missing, 1e-12)
    alone = stability_index(present, rows_before, counts[:-1]) if changes else 0.0
    is_missing = abs(missing - was_missing) > MOST_OUTSIDE
    gap = f"missing {missing:.1%}, before {was_missing:.1%}"
    if is_missing and alone <= max(MODERATE_PSI, chance):
        changes, reason = [gap], gap
    else:
        changes = [*([gap] if is_missing else []), *changes]
        reason = f"distribution changed (PSI {psi:.2f}): {'; '.join(changes)}"
    if outside / rows > MOST_OUTSIDE:
        reason = f"{outside / rows:.1%} of the values are outside what the model was trained on"
    verdict: Verdict = "stable" if rows >= FEWEST_ROWS else "unclear"
    if drifts or moderate:
        verdict = "drift" if drifts else "moderate"
    found = FeatureDrift(
        feature.name, verdict, psi, chance, outside / rows, missing, was_missing, "; ".join(changes)
    )
    return found, f"{feature.name}: {reason}"


def changed(feature: FeatureBaseline, values: NDArray[np.float64], categories: Sequence[str]) -> str:
    """Return in words what has changed most among the values that are not missing, (rows,).

    For numbers the medians, or where they are equal, the share of values above it; for categories the one whose
    share has changed most.
    """
    present = values[~np.isnan(values)]
    now = feature.counts_of(present)[:-1] / len(present)
    before = np.asarray(feature.shares[:-1]) / sum(feature.shares[:-1])
    middle = feature.median
    if middle is None:
        most = int(np.argmax(np.abs(now - before)))
        name = categories[most] if most < len(categories) else "other values"
        return f"{name} {before[most]:.1%} -> {now[most]:.1%}"
    typical = float(np.quantile(present, 0.5, method="inverted_cdf"))
    if typical != middle:
        return f"typical {_number(middle)} -> {_number(typical)}"
    beyond = feature.edges.index(middle) + 1
    return f"above {_number(middle)}: {before[beyond:].sum():.1%} -> {now[beyond:].sum():.1%}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def promised_share(manifest: Manifest, chance: float = 0.05) -> tuple[float | None, Interval | None]:
    """Return the share of normal rows that the threshold was to flag and its interval, or None where unknown."""
    share, rows = manifest.threshold.get("flagged_share"), manifest.threshold.get("rows")
    if not isinstance(share, int | float):
        share = manifest.threshold.get("contamination")
    if not isinstance(share, int | float) or not isinstance(rows, int) or rows < 1 or not 0 <= share <= 1:
        return None, None
    return float(share), wilson(round(share * rows), rows, chance)


def baseline_of_golden(bundle: Bundle) -> Baseline:
    """Return a baseline made from the normal rows of golden.npz, for a bundle without its own.

    Raises:
        InputError: there is no such row.
    """
    golden = read_golden(bundle)
    normal = ~golden["is_anomaly"].astype(bool)
    rows, names = golden["features"][normal], column_names(bundle.manifest)
    if len(rows) == 0:
        raise InputError(
            f"{bundle.path}: has no baseline, and no normal golden row to stand in for it; export it again"
        )
    features = features_of(rows, names, bundle.manifest.categories) if names else ()
    return baseline_of("golden rows that are normal", len(rows), features, golden["score"][normal])


def _distance(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Return the largest excess of the empirical distribution function before over that of now.

    One-sided, so that lower scores, which rows that were trained on may have, are no fault. A score that is not a
    number is the highest.
    """
    first, second = np.sort(before), np.sort(np.where(np.isfinite(now), now, np.inf))
    places = np.concatenate([first, second])
    shares = [np.searchsorted(part, places, side="right") / max(len(part), 1) for part in (first, second)]
    return max(0.0, float((shares[0] - shares[1]).max())) if first.size else 0.0


def _smirnov(distance: float, first: int, second: int) -> float:
    """Return the chance of that distance or more between samples of such sizes.

    Smirnov's limit exp(-2 n distance**2), n = first * second / (first + second) (1944).
    """
    return math.exp(-2 * first * second / (first + second) * distance**2)


def chi_square(freedom: int, chance: float) -> float:
    """Return the value that a chi-square variable exceeds with this chance, by Wilson & Hilferty (1931)."""
    if freedom < 1:
        return 0.0
    share = 2 / (9 * freedom)
    return float(freedom * (1 - share + NormalDist().inv_cdf(1 - chance) * math.sqrt(share)) ** 3)
