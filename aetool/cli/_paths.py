"""Kinds of paths, checked before any work is done."""

from collections.abc import Mapping
from pathlib import Path

from aetool.bundle.atomic import require_new
from aetool.bundle.manifest import MANIFEST
from aetool.errors import BundleError, CheckpointError, OutputError
from aetool.runtime.following import CURRENT, REPORTS
from aetool.suggest import file_hint

_CHECKPOINT = "checkpoint.json"  # aetool.model.checkpoint.DESCRIPTION; importing it would import torch
_VERSIONS = "versions"  # aetool.release._agent.VERSIONS; importing it would import what agents need
BUNDLE, CHECKPOINT, _AGENTS = "a bundle", "a checkpoint", "an agent's directory"


def what(path: Path) -> str:
    """Return the kind of `path` in words; BUNDLE and CHECKPOINT are two of them."""
    if not path.is_dir():
        return "a file" if path.exists() else "nothing"
    if (path / MANIFEST).exists():
        return BUNDLE
    if (path / _CHECKPOINT).exists():
        return CHECKPOINT
    if (path / REPORTS).is_dir() and (path / _VERSIONS).is_dir():
        return _AGENTS
    return "another directory" if any(path.iterdir()) else "an empty directory"


def require_bundle(path: Path) -> None:
    """Raise BundleError, with advice, unless `path` is a bundle."""
    if (found := what(path)) != BUNDLE:
        current = path / CURRENT
        remedies = {
            CHECKPOINT: f"make a bundle of it first: aetool export {path}",
            _AGENTS: f"give {current}"
            if current.is_symlink()
            else f"it has no version yet, see aetool agent status {path}",
        }
        raise BundleError(_expected(path, BUNDLE, MANIFEST, found, "export", remedies))


def require_checkpoint(path: Path) -> None:
    """Raise CheckpointError, with advice, unless `path` is a checkpoint."""
    if (found := what(path)) != CHECKPOINT:
        again = "it is a bundle already; to export again, give its checkpoint"
        raise CheckpointError(_expected(path, CHECKPOINT, _CHECKPOINT, found, "train", {BUNDLE: again}))


def _expected(path: Path, kind: str, file: str, found: str, command: str, remedies: Mapping[str, str]) -> str:
    """Return the message where `found` is not of the `kind` that `command` writes, with `file` in it."""
    own = f"give its directory, {path.parent}" if what(path.parent) == kind else ""
    remedy = remedies.get(found) or own or f"give the directory that aetool {command} wrote"
    near = file_hint(path) if found == "nothing" else ""
    return f"{path}: {kind} is expected (a directory with {file}), found {found}{near}; {remedy}"


def require_free(path: Path, overwrite: bool, kind: str) -> None:
    """Refuse an output directory before any work; only one of the same kind is ever replaced.

    Raises:
        OutputError: something stands there already, or it cannot be written.
    """
    require_new(path, overwrite)
    if (found := what(path)) not in ("nothing", "an empty directory", kind):
        raise OutputError(
            f"{path}: {found} exists there, and --overwrite replaces only {kind}; choose another name"
        )


def require_new_file(path: Path, overwrite: bool) -> None:
    """Refuse an output file before any work.

    Raises:
        OutputError: something stands there already, or it cannot be written.
    """
    require_new(path, overwrite)
    if path.is_dir():
        raise OutputError(f"{path}: a directory exists there and is not replaced; choose another name")


def require_free_file(path: Path, overwrite: bool) -> None:
    """Refuse a table's output file before any work.

    Raises:
        OutputError: something stands there already, it cannot be written, or its ending is not of a known format.
    """
    from aetool.tables.formats import ending_of  # pyarrow comes with it

    require_new_file(path, overwrite)
    ending_of(path, OutputError)


def require_array_file(path: Path | None) -> None:
    """Refuse an output file for an array of more than two axes before any work.

    Raises:
        OutputError: none is given, or its format holds tables only.
    """
    from aetool.tables import require_array_ending

    if path is None:
        raise OutputError("the result has more axes than a table; give -o FILE.npy or FILE.npz")
    require_array_ending(path)
