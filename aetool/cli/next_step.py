"""What `aetool` alone says: what is here, and what to do with it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from aetool.cli import places

_TABLES = (".csv", ".csv.gz", ".parquet", ".npy", ".npz")  # aetool.tables.faults.ENDINGS; it imports pyarrow
_MOST = 500
"""Entries of a directory that are looked at."""


def next_steps(here: Path) -> list[tuple[str, str]]:
    """Commands that make sense in the directory `here`, each with its reason; one or more."""
    entries = [path.relative_to(here) for folder in (here, here / "exported") for path in _entries(folder)]
    bundles, checkpoints, tables = (
        [_quoted(path) for path in entries if wanted(here / path)]
        for wanted in (_is_bundle, _is_checkpoint, _is_table)
    )
    table = next(iter(tables), "TABLE")
    steps = [(f"aetool verify {name}", "a bundle: does it compute here what it should?") for name in bundles[:1]]
    steps += [(f"aetool score {name} {table}", "how abnormal every row is") for name in bundles[:1]]
    steps += [(f"aetool export {name}", "a checkpoint: make a bundle of it") for name in checkpoints[:1]]
    steps += [(f"aetool train {name}", "a table: train on it (--label marks anomalies)") for name in tables[:1]]
    return steps or [
        ("aetool demo", "a real autoencoder, start to finish, in under a minute"),
        ("aetool train TABLE", "train on a table of your own: CSV, Parquet, NPY or NPZ"),
    ]


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())[:_MOST]
    except OSError:  # not there, or not ours to read: nothing to suggest from it
        return


def _is_bundle(path: Path) -> bool:
    return places.what(path) == places.BUNDLE


def _is_checkpoint(path: Path) -> bool:
    return places.what(path) == places.CHECKPOINT


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(_TABLES)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
