"""Records of a portrait: plain numbers and text, so that drawing needs no numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aetool.bundle.images import shown_shape
from aetool.bundle.manifest import Manifest

LARGEST = 3.4e38
"""A threshold of this or more is none: no score of float32 lies above it."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Effect of thresholds: each tuple has an entry a threshold, ascending, evenly spaced by logarithm.

    Only that entry which is nearest to the bundle's own threshold is replaced by it, so that it is there exactly.
    """

    thresholds: tuple[float, ...]
    own: int
    """Index of the bundle's threshold."""
    flagged: tuple[int, ...]
    """Rows whose score is not at or below the threshold."""
    hits: tuple[int, ...] | None
    """Labelled anomalies among them."""


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Scores in bins that are evenly spaced by their logarithm."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """Counts of normal rows with labels, else of all; the last bin holds scores beyond the edges."""
    anomalies: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of how well the scores separate labelled anomalies from normal rows."""

    roc: tuple[tuple[float, float], ...]
    """(false positive rate, recall), from (0, 0) to (1, 1)."""
    precision_recall: tuple[tuple[float, float], ...]
    """(recall, precision), recall ascending."""
    auroc: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class FeatureOfRow:
    """Contribution of one feature to the score of one row."""

    name: str
    found: str
    expected: str
    """Text of found and expected value: raw units, categories by name."""
    share: float
    """Share of the score, 0 to 1."""
    places: tuple[float, float, float, float] | None
    """Found, expected, and the 1st and 99th percentile of the column, on an axis from 0 to 1 that holds them all;
    None for categories."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image in a page."""

    png: str
    """The file, in base64."""
    width: int
    height: int
    """Size in pixels; large images are reduced."""


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A row that is an image, as found and as expected."""

    found: Picture
    expected: Picture
    difference: Picture
    """Found less expected: transparent where there is none, opaque where it is largest."""
    low: float
    high: float
    """Values that are black and white in the first two."""
    largest: float
    """Largest difference, in raw units."""


@dataclass(frozen=True, slots=True)
class ChannelPair:
    """One channel of a window as found and as expected."""

    name: str
    steps: tuple[int, ...]
    """Time steps of the values."""
    found: tuple[float, ...]
    expected: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    """A row with what contributes most to its score."""

    number: int
    """Position in the data, from 0."""
    score: float
    is_anomaly: bool
    label: bool | None
    features: tuple[FeatureOfRow, ...]
    """Those that contribute most, the largest first; none for images and windows."""
    kept: tuple[str, ...]
    """Values of the columns `Portrait.kept`."""
    image: ImagePair | None = None
    channels: tuple[ChannelPair, ...] = ()
    """Channels of a window, the one that contributes most first."""


@dataclass(frozen=True, slots=True)
class ErrorGrid:
    """Errors of the rows with the highest scores, feature by feature."""

    rows: tuple[int, ...]
    """Positions in the data, from 0, the highest score first."""
    features: tuple[str, ...]
    """Those that contribute most, the largest first."""
    shares: tuple[tuple[float, ...], ...]
    """For each feature, its share of each row's score, 0 to 1."""
    left_out: int
    """Number of features that contribute less and are not shown."""


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """Distribution of a drifted column, before and now."""

    name: str
    bins: tuple[str, ...]
    """Bins in words: ranges of values, or categories."""
    before: tuple[float, ...]
    now: tuple[float, ...]
    """Share of the rows in each bin."""


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A row on the map."""

    x: float
    y: float
    """Coordinate, 0 to 1."""
    number: int
    """Position in the data, from 0."""
    score: float | None
    """Score; None if it is NaN."""
    is_anomaly: bool
    label: bool | None
    segment: int | None
    """Segment, -1 for none; None where the bundle has no segments."""
    kept: tuple[str, ...]
    """Values of the columns `Portrait.kept`."""


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """Embeddings in two dimensions."""

    method: str
    points: tuple[MapPoint, ...]
    of: int
    """Rows that the points were drawn from."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A stretch of rows of a log that are abnormal."""

    group: str | None
    start: str
    end: str
    peak: str
    """Times of the first row, the last one and the one with the highest score; without times their numbers."""
    rows: int
    score: float
    """Score of the peak."""
    channels: tuple[tuple[str, float], ...]
    """Channels that contribute most at the peak, with their shares, the largest first."""
    label: bool | None
    """True where a row of it is labelled as an anomaly; None without labels."""


@dataclass(frozen=True, slots=True)
class LogEvents:
    """The events of a log."""

    events: tuple[LogEvent, ...]
    """The one with the highest score first."""
    rows: int
    """Rows of the log that a window covers."""
    labelled: int | None
    """Stretches of rows that are labelled as anomalies; None without labels."""
    met: int
    """Those of them that an event overlaps."""
    row_threshold: float | None = None
    """Highest score of a row that counts as normal, where what it contributes counts in its score; None where that
    is the mean of the windows that cover it, with their threshold."""
    of_last: str | None = None
    """How many rows must be above the threshold, such as "3 of the last 5 rows"; None: one is enough."""


@dataclass(frozen=True, slots=True)
class SignalChannel:
    """One channel of a log over time, stretch by stretch."""

    name: str
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    """Lowest and highest value of each stretch; None where there is none; empty: it is not drawn."""
    shares: tuple[float, ...]
    """What it contributes to a score at most, as a share of the threshold, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A log over time, in stretches of equal numbers of windows."""

    group: str | None
    start: str
    end: str
    """Times of its first and last row."""
    starts: tuple[str, ...]
    """Time at which each stretch begins."""
    windows: int
    score: tuple[float | None, ...]
    """Highest score of each stretch."""
    flagged: tuple[bool, ...]
    """True where a window of the stretch is an anomaly."""
    labelled: tuple[bool, ...]
    """True where a row of the stretch is labelled as an anomaly; none without labels."""
    breaks: tuple[int, ...]
    """Stretches before which there is a gap in time."""
    channels: tuple[SignalChannel, ...]
    """Those that contribute most, the largest first."""
    left_out: int
    """Number of channels that contribute less and are not shown."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """Everything that the page of a bundle shows."""

    manifest: Manifest
    provider: str
    precision: str
    threshold: float
    place: str
    """Path of the bundle, for commands."""
    source: str
    """Description of the rows."""
    is_golden: bool
    """True for the golden rows of the bundle."""
    trained_on: bool | None
    """True if the model was trained on these very rows; None: not known."""
    rows: int
    without_score: int
    """Number of rows with a NaN score: values are missing or infinite."""
    anomalies: int | None
    """Number of rows labelled as anomalies; None without labels."""
    sweep: Sweep
    histogram: ScoreHistogram
    curves: Curves | None
    """Curves; None without labels of both kinds."""
    worst: tuple[ExplainedRow, ...]
    best: tuple[ExplainedRow, ...]
    """Lowest scores; both lists are empty where the bundle has no explainer."""
    errors: ErrorGrid | None
    """None for images, windows, and a bundle without explainer."""
    embedding_map: EmbeddingMap | None
    """Map; None where the model has no embedding, or the rows are too few."""
    kept: tuple[str, ...]
    """Names of identifying columns, such as an id."""
    drift: Mapping[str, Any] | None
    """Drift in the form of `aetool drift --json`; None for golden rows."""
    changes: tuple[ColumnChange, ...]
    """Columns that drifted, the most changed first; none where the bundle has no baseline."""
    signals: tuple[Signal, ...] = ()
    """The log over time, group by group, the highest score first; none where the rows are no windows of one."""
    signals_left_out: int = 0
    """Groups with flagged windows that are not among them."""
    log_events: LogEvents | None = None
    """The events of the log; None where the rows are no windows of one."""
    drift_image: Picture | None = None
    """Drift of each pixel; None where rows are no images, or there is no `drift`."""
    segment_images: tuple[Picture | None, ...] = ()
    """Mean of the rows of each segment; None for a segment without rows. Empty where rows are no images."""

    @property
    def things(self) -> str:
        """Return what rows are called: `windows`, or `rows`."""
        return "rows" if self.manifest.series is None else "windows"

    @property
    def is_image(self) -> bool:
        """Return whether rows are images."""
        return shown_shape(self.manifest) is not None

    @property
    def has_threshold(self) -> bool:
        """Return whether a threshold was set: without one, the bundle holds the largest number of float32."""
        return self.threshold < LARGEST
