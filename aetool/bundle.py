"""What a bundle is: a directory of graphs, golden vectors and a manifest that binds them together."""

import json
import math
import re
import stat
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from aetool.errors import BundleError
from aetool.storage import (
    is_plain_relative,
    pin,
    publish_directory,
    read_inside,
    sha256,
    still_there,
)

FORMAT_VERSION = "1.0"
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
GRAPHS = ("encoder", "decoder", "autoencoder", "detector")
MAX_MANIFEST_BYTES = 64 << 20
MAX_FILE_BYTES = 2 << 30  # protobuf's own limit for one message
MAX_DEPTH = 64  # of the manifest's JSON

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    """Column name, as in the training table."""
    unit: str = ""
    """Unit of measure, for people."""
    categories: tuple[str, ...] | None = None
    """Of a column that holds categories, in order; None for numbers.

    Such a column of `features` holds the index (0, 1, ...) of the row's category. Any other number, -1 by
    convention, means a value that is none of them, and NaN a missing one: both are allowed, and encoded alike.
    """
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys of a later minor version: kept, ignored."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    sha256: str
    """Hex digest of the content."""
    size: int
    """Bytes."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys of a later minor version: kept, ignored."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One precision of all graphs."""

    files: Mapping[str, str]
    """Graph name -> path inside the bundle."""
    threshold: float
    """Highest score that still counts as normal, in this precision."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What was measured when the variant was made."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys of a later minor version: kept, ignored."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of manifest.json."""

    name: str
    id: str
    """sha256 of what decides the outputs: weights, statistics, features, threshold, opset."""
    created: str
    """ISO 8601, UTC."""
    tools: Mapping[str, str]
    """Package -> version that made the bundle."""
    input_shape: tuple[int, ...]
    """Of one row: (n_features,) for tables."""
    embedding_shape: tuple[int, ...] | None
    """Of one row's embedding: (embedding_dim,) mostly; None where the model gives no embedding."""
    features: tuple[Feature, ...]
    """Columns of the input in order, in raw units; empty where the input is no table."""
    opset: int
    ir_version: int
    score: Mapping[str, Any]
    """How the score is defined."""
    threshold: Mapping[str, Any]
    """How the threshold of the fp32 variant was chosen."""
    variants: Mapping[str, Variant]
    """Precision -> graphs; "fp32" is always there."""
    provenance: Mapping[str, Any]
    """Training configuration, seed, data fingerprint."""
    files: Mapping[str, FileRecord]
    """Every file of the bundle but the manifest itself."""
    format_version: str = FORMAT_VERSION
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Keys of a later minor version: kept, ignored."""

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding; 0 where the model gives none."""
        return 0 if self.embedding_shape is None else math.prod(self.embedding_shape)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Of the features that hold them, in the order of their indexes."""
        return categories_of(self.features)

    def to_json(self) -> str:
        content = {"format_version": self.format_version, **_plain(self)}
        return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=_plain) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Manifest":
        """Parse and validate.

        Raises:
            BundleError: not a manifest, or one that this version cannot read.
        """
        try:
            content = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
            _require_storable(content)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{where}: not valid JSON ({error}); export the bundle again") from error
        entries = _Fields(content, where)
        _require_version(entries.take("format_version", str), where)
        manifest = cls(
            format_version=entries.take("format_version", str),
            name=entries.take("name", str),
            id=entries.take("id", str),
            created=entries.take("created", str),
            tools=entries.mapping("tools", str),
            input_shape=entries.sizes("input_shape"),
            embedding_shape=entries.sizes_or_null("embedding_shape"),
            features=tuple(
                Feature(entry.take("name", str), entry.take("unit", str), entry.texts("categories"), entry.rest())
                for entry in entries.objects("features")
            ),
            opset=entries.count("opset"),
            ir_version=entries.count("ir_version"),
            score=entries.take("score", dict),
            threshold=entries.take("threshold", dict),
            variants={
                precision: Variant(
                    files=entry.mapping("files", str),
                    threshold=entry.finite("threshold"),
                    figures=entry.take("figures", dict),
                    unknown=entry.rest(),
                )
                for precision, entry in entries.children("variants")
            },
            provenance=entries.take("provenance", dict),
            files={
                name: FileRecord(entry.digest("sha256"), entry.count("size", 0), entry.rest())
                for name, entry in entries.children("files")
            },
            unknown=entries.rest(),
        )
        manifest._validate(where)
        return manifest

    def _needed_graphs(self) -> tuple[str, ...]:
        """A model whose reconstruction is not made of its embedding alone has no decoder."""
        return (
            ("autoencoder", "detector") if self.embedding_shape is None else ("encoder", "autoencoder", "detector")
        )

    def _validate(self, where: str) -> None:
        names = self.feature_names
        if len(set(names)) != len(names) or (names and self.input_shape != (len(names),)):
            raise BundleError(
                f"{where}: features must be distinct names, one for each of the {self.input_shape} inputs, or "
                f"none; found {len(names)} names, {len(set(names))} distinct; export the bundle again"
            )
        if "fp32" not in self.variants:
            raise BundleError(
                f"{where}: variants must hold 'fp32', found {sorted(self.variants)}; export the bundle again"
            )
        for name in self.files:
            if not is_plain_relative(name) or name == MANIFEST:
                raise BundleError(f"{where}: file name {name!r} does not stay inside the bundle; do not use it")
        for precision, variant in self.variants.items():
            if missing := [graph for graph in self._needed_graphs() if graph not in variant.files]:
                raise BundleError(
                    f"{where}: variant {precision!r} must name the graphs {', '.join(self._needed_graphs())}, "
                    f"found no {', '.join(missing)}; export the bundle again"
                )
            for graph, name in variant.files.items():
                if graph in ("encoder", "decoder") and self.embedding_shape is None:
                    raise BundleError(
                        f"{where}: variant {precision!r} names graph {graph!r}, but embedding_shape is null; "
                        "export the bundle again"
                    )
                if name not in self.files:
                    raise BundleError(
                        f"{where}: variant {precision!r} names graph {graph!r} in {name!r}, which the "
                        f"manifest does not list under files; export the bundle again"
                    )


class Bundle:
    """A bundle on the disk, opened: its manifest is valid, its files are checked as they are read."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> "Bundle":
        """Read and validate the manifest of the bundle at `path`.

        Raises:
            BundleError: there is no bundle, or not one that this version can read.
        """
        path = Path(path)
        found = _what_is_there(path)
        if found != "a directory":
            raise BundleError(
                f"{path}: a bundle directory was expected, found {found}; make one with aetool export"
            )
        text = _read(path, MANIFEST, MAX_MANIFEST_BYTES)
        return cls(path, Manifest.from_json(text, str(path / MANIFEST)))

    @classmethod
    def open_whole(cls, path: str | Path) -> "Bundle":
        """`open` and `check_files` in one: of one whole bundle, even while others are published in its place."""
        while True:
            bundle = cls.open(path)
            try:
                bundle.check_files()
            except _ReplacedError:
                continue
            return bundle

    def read(self, name: str) -> bytes:
        """The content of one file, exactly as it was published.

        Raises:
            BundleError: missing, truncated, changed, or not listed in the manifest.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise BundleError(f"{self.path}: the manifest lists no file {name!r}; export the bundle again")
        data = _read(self.path, name, MAX_FILE_BYTES)
        if len(data) != record.size:
            raise BundleError(
                f"{self.path / name}: {record.size:,} bytes expected, found {len(data):,}; the file was "
                "truncated or replaced, fetch or export the bundle again"
            )
        digest = sha256(data)
        if digest != record.sha256:
            raise BundleError(
                f"{self.path / name}: sha256 {record.sha256[:12]}... expected, found {digest[:12]}...; the "
                "file was changed, fetch or export the bundle again"
            )
        return data

    def graph(self, graph: str, precision: str = "fp32") -> bytes:
        """The ONNX file of `graph` (one of GRAPHS) in `precision`."""
        files = self.variant(precision).files
        if graph not in files:
            raise BundleError(f"{self.path}: has no {graph!r} in {precision}; it has {', '.join(files)}")
        return self.read(files[graph])

    def variant(self, precision: str) -> Variant:
        """The graphs, threshold and figures of `precision`.

        Raises:
            BundleError: the bundle does not have that precision; the message lists those it has.
        """
        variants = self.manifest.variants
        if precision not in variants:
            raise BundleError(f"{self.path}: has no precision {precision!r}; it has {', '.join(sorted(variants))}")
        return variants[precision]

    def check_files(self) -> int:
        """Read every listed file and refuse any that is not listed; the number of files checked.

        Raises:
            BundleError: a file is missing, changed, or foreign.
        """
        # A fault may be another bundle, published in place of this one meanwhile; pinned, the two differ for sure.
        try:
            with pin(self.path) as directory:
                try:
                    self._check_files()
                except BundleError as error:
                    if not still_there(self.path, directory):
                        raise _ReplacedError(self.path) from error
                    raise
        except OSError as error:  # the directory itself vanished
            raise _ReplacedError(self.path) from error
        return len(self.manifest.files)

    def _check_files(self) -> None:
        text = _read(self.path, MANIFEST, MAX_MANIFEST_BYTES)
        if Manifest.from_json(text, str(self.path / MANIFEST)) != self.manifest:
            raise _ReplacedError(self.path)
        for name in self.manifest.files:
            self.read(name)
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_symlink() or not (path.is_dir() or name == MANIFEST or name in self.manifest.files):
                raise BundleError(f"{path}: foreign file, not listed in the manifest; remove it from the bundle")


class _ReplacedError(BundleError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: was replaced by another bundle since it was opened; open it again")


def publish(
    path: str | Path, manifest: Manifest, files: Mapping[str, bytes], *, overwrite: bool = False
) -> Bundle:
    """Write a bundle: `files` (name -> content) and `manifest`, in one step.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or the disk refuses.
    """
    path = Path(path)
    publish_directory(path, {**files, MANIFEST: manifest.to_json().encode()}, overwrite=overwrite)
    return Bundle(path, manifest)


def categories_of(features: Sequence[Feature]) -> dict[str, tuple[str, ...]]:
    """Feature -> categories, for those that hold them."""
    return {feature.name: feature.categories for feature in features if feature.categories is not None}


def record_files(files: Mapping[str, bytes]) -> dict[str, FileRecord]:
    """The manifest's `files` entry for these contents."""
    return {name: FileRecord(sha256(content), len(content)) for name, content in sorted(files.items())}


def _what_is_there(path: Path) -> str:
    try:
        return "a directory" if stat.S_ISDIR(path.stat().st_mode) else "a file"
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return "nothing"
    except OSError as error:
        return f"what cannot be opened ({error.strerror})"


def _read(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        return read_inside(path, name, max_bytes)
    except FileNotFoundError as error:
        raise BundleError(
            f"{path / name}: missing; {path} is not a whole bundle, fetch or export it again"
        ) from error
    except OSError as error:
        raise BundleError(
            f"{path / name}: cannot be read: {error.strerror or error}; mend its rights, or fetch or export the "
            "bundle again"
        ) from error


def _require_version(version: str, where: str) -> None:
    # No number of more digits: Python refuses to convert a very long one.
    if not re.fullmatch(r"[1-9][0-9]{0,8}(\.[0-9]{1,9})*", version):
        raise BundleError(
            f"{where}: format_version {version[:40]!r} is not a version, {FORMAT_VERSION!r} was expected; export "
            "the bundle again"
        )
    if int(version.partition(".")[0]) > int(FORMAT_VERSION.partition(".")[0]):
        raise BundleError(
            f"{where}: format_version {version} is newer than {FORMAT_VERSION}, the newest that this aetool "
            "reads; upgrade aetool"
        )


def _plain(record: Any) -> dict[str, Any]:
    """A dataclass as JSON, one level of it; what was unknown goes back to where it stood."""
    content = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    if content.get("categories", ()) is None:  # numbers: left out
        del content["categories"]
    return {**content.pop("unknown"), **content}


def _require_storable(content: Any) -> None:
    """Refuse what could be read but not be written again: inf, half a surrogate pair, a bottomless nest.

    Raises:
        ValueError: naming it.
    """
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside += [*value, *value.values()]
            elif isinstance(value, list):
                inside += value
            elif isinstance(value, str):
                value.encode()
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is too large for a float")
        level = inside


def _shown(path: str) -> str:
    # Its parts are somebody else's text: kept short and on one line.
    return path if path.isprintable() and len(path) < 200 else ascii(path[:200])


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return content


def _no_constant(token: str) -> Any:
    raise ValueError(f"{token} is not a number that JSON knows")


class _Fields:
    """Typed access to one JSON object; every fault names its JSON path."""

    def __init__(self, content: Any, where: str, path: str = "$") -> None:
        self.where = where
        self.path = path
        if not isinstance(content, dict):
            self._fail(path, "an object", content)
        self.content = cast(dict[str, Any], content)
        self.taken: set[str] = set()

    def _fail(self, path: str, expected: str, found: Any) -> None:
        raise BundleError(
            f"{self.where}: {_shown(path)} must be {expected}, found {str(found)[:40]!r}; export the bundle again"
        )

    def take(self, key: str, kind: type[_T]) -> _T:
        self.taken.add(key)
        path = f"{self.path}.{key}"
        if key not in self.content:
            raise BundleError(f"{self.where}: {_shown(path)} is missing; export the bundle again")
        value = self.content[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._fail(path, {str: "a string", int: "an integer", dict: "an object"}.get(kind, "a list"), value)
        return cast(_T, value)

    def count(self, key: str, least: int = 1) -> int:
        value = self.take(key, int)
        if not least <= value < 2**63:
            self._fail(f"{self.path}.{key}", f"{least} or more", value)
        return value

    def sizes(self, key: str) -> tuple[int, ...]:
        values = self.take(key, list)
        if not values or not all(type(size) is int and 1 <= size < 2**31 for size in values):
            self._fail(f"{self.path}.{key}", "a list of sizes of 1 or more", values)
        return tuple(values)

    def sizes_or_null(self, key: str) -> tuple[int, ...] | None:
        if self.content.get(key, ()) is not None:
            return self.sizes(key)
        self.taken.add(key)
        return None

    def digest(self, key: str) -> str:
        value = self.take(key, str)
        if not re.fullmatch("[0-9a-f]{64}", value):
            self._fail(f"{self.path}.{key}", "a sha256 in 64 hex digits", value)
        return value

    def finite(self, key: str) -> float:
        self.taken.add(key)
        value = self.content.get(key)
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            not usable or not abs(cast(float, value)) <= sys.float_info.max
        ):  # also NaN, and integers no float can hold
            self._fail(f"{self.path}.{key}", "a finite number", value)
        return float(cast(float, value))

    def texts(self, key: str) -> tuple[str, ...] | None:
        self.taken.add(key)
        values = self.content.get(key)
        if values is None:
            return None
        if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
            self._fail(f"{self.path}.{key}", "a list of texts", values)
        if len(set(values)) != len(values):
            self._fail(f"{self.path}.{key}", "distinct texts", values)
        return tuple(values)

    def mapping(self, key: str, kind: type[_T]) -> dict[str, _T]:
        entry = _Fields(self.take(key, dict), self.where, f"{self.path}.{key}")
        return {name: entry.take(name, kind) for name in entry.content}

    def objects(self, key: str) -> "list[_Fields]":
        values = self.take(key, list)
        return [_Fields(value, self.where, f"{self.path}.{key}[{i}]") for i, value in enumerate(values)]

    def children(self, key: str) -> "list[tuple[str, _Fields]]":
        values = self.take(key, dict)
        return [(name, _Fields(value, self.where, f"{self.path}.{key}.{name}")) for name, value in values.items()]

    def rest(self) -> dict[str, Any]:
        return {key: value for key, value in self.content.items() if key not in self.taken}
