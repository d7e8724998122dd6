"""The records of a portrait: plain numbers and text, so that whoever draws them needs no numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aetool.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Sweep:
    """What thresholds would do: each tuple has an entry a threshold, ascending, evenly spaced by their logarithm.

    Only that entry which is nearest to the bundle's own threshold is replaced by it, so that it is there exactly.
    """

    thresholds: tuple[float, ...]
    own: int
    """Place of the bundle's threshold."""
    flagged: tuple[int, ...]
    """Rows whose score is not at or below the threshold."""
    hits: tuple[int, ...] | None
    """Labelled anomalies among them."""


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Scores in bins that are evenly spaced by their logarithm."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """Of the normal rows where there are labels, else of all; a score beyond the edges is in the last bin."""
    anomalies: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Curves:
    """How well the scores tell labelled anomalies from normal rows, whatever the threshold."""

    roc: tuple[tuple[float, float], ...]
    """(false positive rate, recall), from (0, 0) to (1, 1)."""
    precision_recall: tuple[tuple[float, float], ...]
    """(recall, precision), recall ascending."""
    auroc: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class FeatureOfRow:
    """What one feature has to do with the score of one row."""

    name: str
    found: str
    expected: str
    """Both as people read them: raw units, categories by name."""
    share: float
    """Of the score."""
    places: tuple[float, float, float, float] | None
    """Found, expected, and the 1st and 99th percentile of the column, on an axis from 0 to 1 that holds them all;
    None for categories."""


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    number: int
    """Place in the data, from 0."""
    score: float
    is_anomaly: bool
    label: bool | None
    features: tuple[FeatureOfRow, ...]
    """Those that contribute most, the largest first."""
    kept: tuple[str, ...]
    """What stands in the columns `Portrait.kept`."""


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A row on the map."""

    x: float
    y: float
    """0 to 1."""
    number: int
    """Place in the data, from 0."""
    score: float | None
    """None where it is no number."""
    is_anomaly: bool
    label: bool | None
    segment: int | None
    """-1 for none; None where the bundle has no segments."""
    kept: tuple[str, ...]
    """What stands in the columns `Portrait.kept`."""


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    method: str
    points: tuple[MapPoint, ...]
    of: int
    """Rows that the points were drawn from."""


@dataclass(frozen=True, slots=True)
class Portrait:
    manifest: Manifest
    provider: str
    precision: str
    threshold: float
    source: str
    """Which rows, for people."""
    is_golden: bool
    """Whether they are those that come with the bundle."""
    trained_on: bool | None
    """Whether the model was trained on these very rows; None: not known."""
    rows: int
    without_score: int
    """Rows whose score is no number: values are missing or infinite."""
    anomalies: int | None
    """Rows labelled so."""
    sweep: Sweep
    histogram: ScoreHistogram
    curves: Curves | None
    """None without labels of both kinds."""
    worst: tuple[ExplainedRow, ...]
    best: tuple[ExplainedRow, ...]
    """Both empty where the bundle has no explainer."""
    embedding_map: EmbeddingMap | None
    """None where the model gives no embedding, or the rows are too few."""
    kept: tuple[str, ...]
    """Columns that tell people which row it is, such as an id; none where none were given."""
    drift: Mapping[str, Any] | None
    """As `aetool drift --json` gives it; None for golden rows."""
