"""The content of manifest.json, and its validation."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from aetool.bundle.files import is_plain_relative
from aetool.bundle.schema import (
    NOT_NULL,
    OPTIONAL,
    REQUIRED,
    Count,
    Digest,
    Positive,
    Size,
    Sizes,
    Source,
    Texts,
    member,
    shown,
    to_plain,
)
from aetool.errors import BundleError

FORMAT_VERSION = "1.0"
MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
MODEL_SIGNATURE = "model.sig"
"""Signature's file, beside the manifest; not listed there, since it covers the manifest."""
GRAPHS = ("encoder", "decoder", "autoencoder", "detector", "explainer")
SEGMENTER = "segmenter"
"""The graph that `aetool segment learn` adds."""
THRESHOLD = "threshold"
"""The detector's input with a default: one number, or one per row."""
DOUBLE = ("float64", "float64 inside")
"""Forms (`figures.form`) whose graphs compute in float64 between float32 ends."""
_NONE: Mapping[str, Any] = {}


class Feature(NamedTuple):
    """One column of the input."""

    name: str
    """Column name, as in the training table."""
    unit: Annotated[str, REQUIRED] = ""
    """Unit of measure, for people."""
    categories: Annotated[Texts | None, OPTIONAL] = None
    """Categories of the column in order; None for numbers.

    Such a column of `features` holds the index (0, 1, ...) of the row's category. Any other number, -1 by
    convention, means a value that is none of them, and NaN a missing one: both are allowed, and encoded alike.
    """
    unknown: Mapping[str, Any] = _NONE
    """Keys of a later minor version: kept, ignored."""


class Series(NamedTuple):
    """How a log was cut into windows: what it takes to cut another one for the same model."""

    window: Count
    """Rows of one window."""
    stride: Count
    """Rows from the beginning of one window to that of the next."""
    every: Annotated[Positive | None, OPTIONAL] = None
    """Seconds between rows after resampling; None where rows are taken as they are."""
    time: Annotated[str | None, OPTIONAL] = None
    """Column of the time; None where the order of rows is all there is."""
    group: Annotated[str | None, OPTIONAL] = None
    """Column that tells whose rows they are; None where a log has one source."""
    gap: Annotated[Positive | None, OPTIONAL] = None
    """Longest time from one row to the next, in seconds, that a window may hold; None: any."""
    row_threshold: Annotated[float | None, OPTIONAL, NOT_NULL] = None
    """Highest score of a row of a log that still counts as normal, in fp32: see `Manifest.row_threshold`."""
    unknown: Mapping[str, Any] = _NONE
    """Keys of a later minor version: kept, ignored."""


class FileRecord(NamedTuple):
    """Hash and size of one file of the bundle."""

    sha256: Digest
    """Hex digest of the content."""
    size: Size
    """Bytes."""
    unknown: Mapping[str, Any] = _NONE
    """Keys of a later minor version: kept, ignored."""


class Tolerances(NamedTuple):
    """Largest allowed differences between the outputs of a precision and the golden ones, on any machine."""

    embedding: float
    """Largest difference, as a share of the output's range."""
    reconstruction: float
    """The same, as a share of each column's range."""
    score: float
    """The same as for the embedding."""
    rank_correlation: float
    """Smallest Spearman correlation of the scores."""
    flips: float
    """Largest share of rows whose decision differs."""
    contribution: float = 1e-5
    """The same as for the embedding."""
    distance: float = 1e-5
    """The same as for the embedding."""
    segments: float = 0.0
    """Largest share of rows in another segment."""
    unknown: Mapping[str, Any] = _NONE
    """Keys of a later minor version: kept, ignored."""


class Variant(NamedTuple):
    """All graphs in one precision."""

    files: Mapping[str, str]
    """Graph name -> path inside the bundle."""
    threshold: float
    """Highest score that still counts as normal, in this precision."""
    figures: Annotated[Mapping[str, Any], REQUIRED] = _NONE
    """Measurements from when the variant was made."""
    inner_values: Annotated[Mapping[str, Texts] | None, OPTIONAL, NOT_NULL] = None
    """Graph name -> values between its nodes that onnxruntime keeps when it optimises, batch first.

    Bound to memory, as outputs can be, a row needs no allocation. A graph without an entry runs all the same.
    """
    tolerances: Annotated[Tolerances | None, OPTIONAL, NOT_NULL] = None
    """Allowed differences of its outputs; None for those of float32 (aetool.checks.parity.EXACT)."""
    calibrator: Annotated[str | None, OPTIONAL, NOT_NULL] = None
    """Path of the graph score -> p_value (and probability); None where no scores of other rows were kept."""
    segment_thresholds: Annotated[tuple[float, ...] | None, OPTIONAL, NOT_NULL] = None
    """Threshold of each segment, for decisions per segment; None where none were calibrated."""
    unknown: Mapping[str, Any] = _NONE
    """Keys of a later minor version: kept, ignored."""


class Manifest(NamedTuple):
    """The content of manifest.json."""

    name: str
    id: str
    """sha256 of everything that decides the outputs: weights, statistics, features, threshold, opset."""
    created: str
    """ISO 8601, UTC."""
    tools: Mapping[str, str]
    """Package -> version that made the bundle."""
    input_shape: Sizes
    """Shape of one row: (n_features,) for tables, (window, channels) for series."""
    embedding_shape: Sizes | None
    """Shape of one row's embedding, mostly (embedding_dim,); None where the model gives no embedding."""
    features: tuple[Feature, ...]
    """Columns of the input in order, in raw units; of a series its channels; empty where the input is no table."""
    opset: Count
    ir_version: Count
    score: Mapping[str, Any]
    """Definition of the score."""
    threshold: Mapping[str, Any]
    """Choice of the fp32 variant's threshold."""
    variants: Mapping[str, Variant]
    """Precision -> graphs; "fp32" is always there."""
    provenance: Mapping[str, Any]
    """Training configuration, seed, data fingerprint."""
    files: Mapping[str, FileRecord]
    """Every file of the bundle but the manifest itself."""
    format_version: str = FORMAT_VERSION
    segments: Annotated[Mapping[str, Any], OPTIONAL] = _NONE
    """Description of the segments; empty where `aetool segment learn` made none."""
    calibration: Annotated[Mapping[str, Any], OPTIONAL] = _NONE
    """Rows and rule of the last `aetool calibrate`; empty where there was none."""
    series: Annotated[Series | None, OPTIONAL, NOT_NULL] = None
    """Windows of a log that the rows are; None where rows stand for themselves."""
    image: Annotated[Sizes | None, OPTIONAL, NOT_NULL] = None
    """Shape in which a row is a picture, (height, width) or with channels; None where it is none."""
    unknown: Mapping[str, Any] = _NONE
    """Keys of a later minor version: kept, ignored."""

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding; 0 where the model gives none."""
        return 0 if self.embedding_shape is None else math.prod(self.embedding_shape)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Feature -> categories in the order of their indexes, for features that hold them."""
        return categories_of(self.features)

    def row_threshold(self, precision: str) -> float | None:
        """Return the threshold for rows of a log: that of fp32, moved as the one for windows is in this precision.

        None where rows are scored by their windows alone, whose threshold is theirs too: in a bundle of an older
        aetool, or without an explainer.
        """
        variant, first = self.variants[precision], self.variants["fp32"].threshold
        if self.series is None or self.series.row_threshold is None or "explainer" not in variant.files:
            return None
        return self.series.row_threshold * (variant.threshold / first if first > 0 else 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file as plain values."""
        return {"format_version": self.format_version, **to_plain(self)}

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Manifest":
        """Parse and validate the text of a manifest.

        Raises:
            BundleError: not a manifest, or one that this version cannot read.
        """
        source = Source(where)
        content = source.parse(text)
        (version,) = source.read_fields(cls, content, "format_version")
        _require_version(version, where)  # first, since a later one may have other keys
        manifest = source.read(cls, content)
        manifest._validate(where)
        return manifest

    def _needed_graphs(self) -> tuple[str, ...]:
        """Graphs that every such bundle has: no decoder where the reconstruction needs more than the embedding."""
        return (
            ("autoencoder", "detector") if self.embedding_shape is None else ("encoder", "autoencoder", "detector")
        )

    def _validate(self, where: str) -> None:
        names = self.feature_names
        if self.series is not None and self.input_shape != (self.series.window, len(names)):
            raise BundleError(
                f"{where}: $.series has windows of {self.series.window} rows, $.features {len(names)} channels, "
                f"but $.input_shape is {self.input_shape}; export the bundle again"
            )
        if len(set(names)) != len(names) or (names and self.input_shape[-1:] != (len(names),)):
            raise BundleError(
                f"{where}: $.features must be distinct names, one for each of the {self.input_shape} inputs, or "
                f"none; found {len(names)} names, {len(set(names))} distinct; export the bundle again"
            )
        if self.image is not None and (
            len(self.image) not in (2, 3) or math.prod(self.image) != math.prod(self.input_shape)
        ):
            raise BundleError(
                f"{where}: $.image must be two or three sizes, as many numbers as $.input_shape "
                f"{self.input_shape}; found {self.image}; export the bundle again"
            )
        if "fp32" not in self.variants:
            raise BundleError(
                f"{where}: $.variants must hold 'fp32', found {sorted(self.variants)}; export the bundle again"
            )
        if names and self.series is None and len(self.input_shape) != 1:
            raise BundleError(
                f"{where}: $.features must be empty where rows are of shape {self.input_shape} and there is no "
                f"$.series; found {len(names)} names; export the bundle again"
            )
        for name in self.files:
            if not is_plain_relative(name) or name in (MANIFEST, SIGNATURE, MODEL_SIGNATURE):
                raise BundleError(
                    f"{where}: {_at('files', name)}: file name {name!r} does not stay inside the bundle; "
                    "do not use it"
                )
        self._validate_variants(where)

    def _validate_variants(self, where: str) -> None:
        for precision, variant in self.variants.items():
            path = _at("variants", precision, "files")
            if missing := [graph for graph in self._needed_graphs() if graph not in variant.files]:
                raise BundleError(
                    f"{where}: {path} must name the graphs {', '.join(self._needed_graphs())}, "
                    f"found no {', '.join(missing)}; export the bundle again"
                )
            if variant.calibrator is not None and variant.calibrator not in self.files:
                raise BundleError(
                    f"{where}: {_at('variants', precision, 'calibrator')} names {variant.calibrator!r}, which the "
                    "manifest does not list under files; export the bundle again"
                )
            for graph, name in variant.files.items():
                path = _at("variants", precision, "files", graph)
                if graph in ("encoder", "decoder", SEGMENTER) and self.embedding_shape is None:
                    raise BundleError(
                        f"{where}: {path} names graph {graph!r}, but embedding_shape is null; "
                        "export the bundle again"
                    )
                if name not in self.files:
                    raise BundleError(
                        f"{where}: {path} names {name!r}, which the manifest does not list under files; "
                        "export the bundle again"
                    )


def categories_of(features: Sequence[Feature]) -> dict[str, tuple[str, ...]]:
    """Return feature -> categories, for those that hold them."""
    return {feature.name: feature.categories for feature in features if feature.categories is not None}


def _at(*keys: str) -> str:
    """Return a JSON path for a message."""
    path = "$"
    for key in keys:
        path = member(path, key)
    return shown(path)


def _require_version(version: str, where: str) -> None:
    if version == FORMAT_VERSION:
        return
    # No number of more digits: Python refuses to convert a very long one.
    if not re.fullmatch(r"[1-9][0-9]{0,8}(\.[0-9]{1,9})*", version):
        raise BundleError(
            f"{where}: $.format_version {version[:40]!r} is not a version, {FORMAT_VERSION!r} was expected; "
            "export the bundle again"
        )
    if int(version.partition(".")[0]) > int(FORMAT_VERSION.partition(".")[0]):
        raise BundleError(
            f"{where}: $.format_version {version} is newer than {FORMAT_VERSION}, the newest that this aetool "
            "reads; upgrade aetool"
        )
