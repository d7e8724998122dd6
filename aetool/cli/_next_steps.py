"""Suggestions of `aetool` without arguments: what is here, and what to do with it."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aetool.bundle.schema import read_json
from aetool.cli import _paths as paths
from aetool.errors import AetoolError

_TABLES = (".csv", ".csv.gz", ".parquet", ".npy", ".npz")  # aetool.tables.formats.ENDINGS; it imports pyarrow
_MOST = 500
"""Most entries of a directory to look at."""
_MOST_READ = 20
"""Most bundles, checkpoints and tables, each, to read."""
_RESULTS = ({"score", "is_anomaly"}, {"embedding_0"}, {"why_1"})
"""Columns of aetool's own results."""


class _Model(NamedTuple):
    """A bundle or a checkpoint."""

    path: str
    features: tuple[str, ...] = ()
    training: Any = None
    """Identity of a training; None for models not trained here."""
    manifest: Any = None
    """`aetool.bundle.manifest.Manifest`; None for a checkpoint, and for a bundle that cannot be read."""


class _Table(NamedTuple):
    path: str
    names: tuple[str, ...] | None
    """Column names; None where the file's first bytes do not hold them."""
    positional: bool = False

    def fits(self, model: _Model) -> bool:
        if self.names is None or not model.features:
            return False
        return set(model.features) <= set(self.names) or (
            self.positional and len(self.names) == len(model.features)
        )


def next_steps(here: Path) -> list[tuple[str, str]]:
    """Return commands that make sense in the directory `here`, each with its reason; one or more."""
    entries = [path.relative_to(here) for folder in (here, here / "exported") for path in _entries(folder)]
    bundles = [_bundle(here, path) for path in _some(entries, here, paths.BUNDLE)]
    checkpoints = [_checkpoint(here, path) for path in _some(entries, here, paths.CHECKPOINT)]
    segmented = any(bundle.manifest is not None and bundle.manifest.segments for bundle in bundles)
    files = [path for path in entries if path.name.lower().endswith(_TABLES) and (here / path).is_file()]
    tables = [table for path in files[:_MOST_READ] if not _is_result(table := _table(here, path), segmented)]
    steps = [step for bundle, table in _pairs(bundles, tables)[:1] for step in _of_bundle(here, bundle, table)]
    exported = [bundle.training for bundle in bundles]
    steps += [
        (f"aetool export {model.path}", "a checkpoint without a bundle: export it")
        for model in checkpoints
        if model.training is None or model.training not in exported
    ][:1]
    steps += [
        (f"aetool train {table.path}", "a table: train on it (--label marks anomalies, --drop leaves columns out)")
        for table in tables
        if not any(table.fits(model) for model in (*bundles, *checkpoints))
    ][:1]
    return steps or [
        ("aetool demo", "train, export and run an autoencoder in under a minute"),
        ("aetool train TABLE", "train on your own table: CSV, Parquet, NPY or NPZ"),
    ]


def _of_bundle(here: Path, bundle: _Model, table: _Table | None) -> Iterator[tuple[str, str]]:
    path, manifest, data = bundle.path, bundle.manifest, "TABLE" if table is None else table.path
    yield f"aetool verify {path}", "a bundle: check that it computes here what was trained"
    if manifest is None:
        return
    yield f"aetool score {path} {data}", "score every row; --explain 3 adds the reasons"
    if manifest.segments:
        yield (
            f"aetool segment assign {path} {data}",
            "the segment of every row; aetool segment show describes them",
        )
    elif manifest.embedding_shape is not None:
        yield f"aetool segment learn {path} {data}", "groups of similar rows"
    if not (here / f"{shlex.split(path)[0]}.html").exists():
        yield f"aetool report {path} --data {data}", "an HTML page to share"
    if "baseline.json" in manifest.files:
        yield f"aetool drift {path} --data NEWER_TABLE", "check newer rows for drift"


def _pairs(bundles: Sequence[_Model], tables: Sequence[_Table]) -> list[tuple[_Model, _Table | None]]:
    """Return bundles with a table that fits, then the others."""
    fitting: list[tuple[_Model, _Table | None]] = [
        (bundle, table) for bundle in bundles for table in tables if table.fits(bundle)
    ]
    return [*fitting, *((bundle, None) for bundle in bundles)]


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())[:_MOST]
    except OSError:  # not there, or not ours to read: nothing to suggest from it
        return


def _some(entries: Sequence[Path], here: Path, kind: str) -> list[Path]:
    return [path for path in entries if paths.what(here / path) == kind][:_MOST_READ]


def _bundle(here: Path, path: Path) -> _Model:
    from aetool.bundle.bundle import Bundle

    try:
        manifest = Bundle.open(here / path).manifest
    except AetoolError:  # aetool verify tells
        return _Model(_quoted(path))
    return _Model(_quoted(path), manifest.feature_names, manifest.provenance.get("history"), manifest)


def _checkpoint(here: Path, path: Path) -> _Model:
    try:
        content = read_json(here / path / "checkpoint.json")
        return _Model(_quoted(path), tuple(map(str, content["features"])), content["history"])
    except (OSError, ValueError, KeyError, TypeError):  # aetool export tells
        return _Model(_quoted(path))


def _table(here: Path, path: Path) -> _Table:
    from aetool.tables.reading import table_header

    try:
        header = table_header(here / path)
    except AetoolError:  # aetool train tells
        header = None
    return _Table(_quoted(path), header and header.names, bool(header and header.positional))


def _is_result(table: _Table, segmented: bool) -> bool:
    names = table.names or ()
    return any(own <= set(names) for own in _RESULTS) or (segmented and names[-1:] == ("segment",))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
