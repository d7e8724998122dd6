"""The output directory of a run: one Parquet file for each input, and a manifest that describes them.

Every file names the input and the task that it was made from, and appears whole; so the manifest need not follow
the work, and what a killed run had finished is known from the directory alone.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyarrow.fs import FileSelector, FileType, LocalFileSystem

from aetool.bundle.files import DEFAULT_LIMITS, is_plain_relative
from aetool.bundle.schema import loads
from aetool.errors import OutputError
from aetool.stream._file import Outcome, counts_of
from aetool.stream._inputs import InputFile
from aetool.stream._task import fingerprint
from aetool.tables.filesystems import appearing, delete_file, listed, locate

MANIFEST = "_aetool.json"
"""Name that readers of a directory of Parquet leave out."""
FORMAT = "aetool-run/1"
MAX_BYTES = DEFAULT_LIMITS.json_bytes


class OutputDirectory:
    """Directory, here or in a store, that belongs to one run."""

    def __init__(self, path: str) -> None:
        """Find the file system."""
        self.path = path
        self._system, self._inside = locate(path)

    @contextmanager
    def taken(
        self, description: dict[str, Any], sources: Sequence[InputFile], *, resume: bool, overwrite: bool
    ) -> Iterator[list[Outcome]]:
        """Hold the directory for a run, and yield what is finished in it already.

        Raises:
            OutputError: it holds something else, or another run's outputs, or is held by another run.
        """
        previous = self._previous(resume=resume, overwrite=overwrite)
        try:
            self._system.create_dir(self._inside, recursive=True)
        except OSError as error:
            raise self._refused(f"cannot be made ({error.strerror or error})", "choose another") from error
        with self._lock():
            if previous is not None and not resume:
                for entry in previous["files"]:
                    self._delete(entry["output"])
            elif previous is not None:
                self._require_same(previous, description, sources)
            self.write(description, [Outcome(source, None) for source in sources])
            task = fingerprint(description)
            yield [
                Outcome(source, counts)
                for source in sources
                if (counts := counts_of(self._system, self._path_of(source.output), task, source)) is not None
            ]

    def write(self, description: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
        """Write the manifest, in one step, and delete what killed processes left half written."""
        for info in listed(self._system, self._inside, recursive=False):
            if _is_half_written(info):
                delete_file(self._system, self._inside, info.base_name)
        files = [_record(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.source.name)]
        text = json.dumps({"format": FORMAT, **description, "files": files}, indent=1, ensure_ascii=False) + "\n"
        try:
            temporary = self._path_of(f".aetool-{secrets.token_hex(8)}.tmp")  # no link can wait at such a name
            with appearing(self._system, self._path_of(MANIFEST), temporary) as stream:
                stream.write(text.encode())
        except OSError as error:
            raise self._refused(
                f"cannot be written ({error.strerror or error})", "check its permissions"
            ) from error

    def _previous(self, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
        """Return the manifest that is there; None where there is none."""
        info = self._system.get_file_info(self._inside)
        if info.type == FileType.File:
            raise self._refused("is a file, a directory was expected", "choose another name")
        entries = self._system.get_file_info(FileSelector(self._inside, allow_not_found=True))
        found = [entry.base_name for entry in entries if not _is_half_written(entry)]
        if MANIFEST not in found:
            if found:
                raise self._refused("holds something else, it will not be replaced", "choose another name")
            return None
        if not (resume or overwrite):
            raise self._refused("holds results already", "choose another name, or pass --resume or --overwrite")
        try:
            with self._system.open_input_stream(self._path_of(MANIFEST)) as stream:
                text = stream.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes")
            manifest: dict[str, Any] = loads(text)
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {FORMAT} expected, found {manifest['format']!r:.40}")
            for entry in manifest["files"]:  # which --overwrite deletes
                if not is_plain_relative(entry["output"]):
                    raise ValueError(f"{entry['output']!r:.80} does not stay inside the directory")
            return manifest
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._refused(
                f"has a {MANIFEST} that cannot be read ({error})", "choose another name"
            ) from error

    def _require_same(
        self, previous: dict[str, Any], description: dict[str, Any], sources: Sequence[InputFile]
    ) -> None:
        for key, value in description.items():
            if previous.get(key) != value:
                raise self._refused(
                    f"holds results of another run: {key} was {previous.get(key)!r}, now {value!r}",
                    "choose another name, or pass --overwrite",
                )
        outputs = {source.output for source in sources}
        for entry in previous["files"]:
            if (
                entry["output"] not in outputs
                and self._system.get_file_info(self._path_of(entry["output"])).is_file
            ):
                raise self._refused(
                    f"holds {entry['output']}, whose input {entry['input']} is not given any more",
                    "give it too, or delete that result",
                )

    def _path_of(self, name: str) -> str:
        return f"{self._inside}/{name}"

    def _delete(self, name: str) -> None:
        try:
            delete_file(self._system, self._inside, name)
        except OSError as error:
            raise self._refused(
                f"{name} cannot be deleted ({error.strerror or error})", "remove it yourself"
            ) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Lock the directory: two runs at once would delete each other's half-written files.

        A store has no locks: there the users must see to it.
        """
        if not isinstance(self._system, LocalFileSystem):
            yield
            return
        descriptor = os.open(self._inside, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise self._refused(
                "is being written by another run", "wait for it, or choose another name"
            ) from error
        try:
            yield
        finally:
            os.close(descriptor)

    def _refused(self, found: str, remedy: str) -> OutputError:
        return OutputError(f"{self.path}: {found}; {remedy}")


def _is_half_written(info: Any) -> bool:
    """Decide whether a killed run left this file behind."""
    return bool(info.base_name.startswith(".aetool-") and info.base_name.endswith(".tmp"))


def _record(outcome: Outcome) -> dict[str, Any]:
    source, counts = outcome.source, outcome.counts
    found: dict[str, Any] = {"input": source.path, "output": source.output}
    if counts is not None:
        found["rows"] = counts.rows
    if outcome.error:
        found["error"] = outcome.error
    return found
