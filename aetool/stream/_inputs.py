"""The input files of a run: files, directories, patterns and URIs become a list, each with a name of its own."""

import re
from collections.abc import Container, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pyarrow.fs import FileType

from aetool.errors import InputError
from aetool.stream._task import Task
from aetool.suggest import file_hint
from aetool.tables import Reading
from aetool.tables.filesystems import as_pattern, is_below, is_remote, listed, locate, uri_of
from aetool.tables.streaming import STREAMED, Batch, read_batches, streamed_ending

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file."""

    name: str
    """Name below the given path; its output is called after it."""
    path: str
    """Path or URI to open it with, from any machine that sees the same files."""
    size: int
    """Size in bytes."""
    modified: int | None
    """Time of the last change, in nanoseconds since 1970; None where unknown."""

    @property
    def output(self) -> str:
        """Name of its output, below the output directory."""
        return self.name if self.name.lower().endswith(".parquet") else f"{self.name}.parquet"


def batches_of(source: InputFile, model: Any, task: Task, width: int = 1) -> Generator[Batch, None, None]:
    """Yield the rows of a file that `model` takes, as `read_batches` does."""
    system, inside = locate(source.path)
    return read_batches(
        lambda: system.open_input_file(inside),
        source.path,
        only=model.feature_names or None,
        keep=task.keep,
        categories=model.categories,
        reading=task.reading,
        like=Reading.of(model.manifest.provenance),
        limits=task.limits,
        width=width,
    )


def require_apart(source: InputFile, kept: Iterable[str], results: Container[str]) -> None:
    """Refuse columns to keep that are called like a result.

    Raises:
        InputError: there is one.
    """
    if clash := [name for name in kept if name in results]:
        raise InputError(
            f"{source.path}: --keep {clash[0]!r}: a result has that name too; rename the column there"
        )


def find_sources(given: Sequence[str], *, outside: str | None = None) -> list[InputFile]:
    """Return the files that paths, directories, patterns and URIs stand for, sorted by name, each once.

    Of a directory, all files below that can be streamed; names that begin with "." or "_" are left out, and so is
    what lies in the directory `outside`, where the results go.

    Raises:
        InputError: something given stands for no file, for one that cannot be streamed, or two files would have
            one output.
    """
    found: dict[str, InputFile] = {}
    for path in given:
        found |= {
            source.path: source for source in _find(path) if outside is None or not is_below(source.path, outside)
        }
    outputs: dict[str, str] = {}
    for source in found.values():
        if (other := outputs.setdefault(source.output, source.path)) != source.path:
            raise InputError(
                f"{source.path} and {other} would both become {source.output}; rename one, or give the directory "
                "above them"
            )
    return sorted(found.values(), key=lambda source: source.name)


def _find(given: str) -> list[InputFile]:
    system, path = locate(given)
    info = system.get_file_info(path)
    if info.type == FileType.File:
        if streamed_ending(path) is None:
            raise InputError(
                f"{given}: files of {', '.join(STREAMED)} can be streamed; convert it, or give a file as --output"
            )
        return [_source(given, path, PurePosixPath(path).name, info)]
    pattern = None
    folder, recursive = path, True
    if info.type == FileType.NotFound and (magic := _MAGIC.search(path)):
        folder = path[: magic.start()].rpartition("/")[0] or "/"
        rest = path[len(folder.rstrip("/")) + 1 :]
        pattern, recursive = as_pattern(path), "/" in rest or "**" in rest
    elif info.type == FileType.NotFound:
        raise InputError(f"{given}: no such file or directory{file_hint(Path(path))}; check the path")
    prefix = f"{folder.rstrip('/')}/"
    sources = [
        _source(given, path, entry.path.removeprefix(prefix), entry)
        for entry in listed(system, folder, recursive=recursive)
        if streamed_ending(entry.path) is not None
        and not any(part.startswith((".", "_")) for part in PurePosixPath(entry.path.removeprefix(prefix)).parts)
        and (pattern is None or pattern.fullmatch(entry.path))
    ]
    if not sources:
        raise InputError(f"{given}: no files of {', '.join(STREAMED)} there; check the path")
    return sources


def _source(given: str, path: str, name: str, info: Any) -> InputFile:
    return InputFile(
        name, info.path if not is_remote(given) else uri_of(given, path, info.path), info.size, info.mtime_ns
    )
