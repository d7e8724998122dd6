"""What a bundle is: a directory of graphs, golden vectors and a manifest that binds them together."""

import importlib
import os
import stat
from typing import TYPE_CHECKING

from aetool.errors import BundleError
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.manifest import MANIFEST, SIGNATURE, Manifest, Variant
from aetool.reading import AnyPath, absolute_path, pin, plain_path, read_inside, sha256, still_there

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = "golden.npz"


def tuning_file(bundle: AnyPath) -> str:
    """Where the tuning of the bundle at `bundle` is kept: beside it, since its own files are bound by hashes."""
    return f"{absolute_path(bundle)}.tuning.json"


class Bundle:
    """A bundle on the disk, opened: its manifest is valid, its files are checked as they are read."""

    def __init__(self, path: AnyPath, manifest: Manifest, limits: Limits = DEFAULT_LIMITS) -> None:
        self.where = plain_path(path)
        """The directory, as text."""
        self.manifest = manifest
        self.limits = limits

    @property
    def path(self) -> "Path":
        """The directory."""
        made: Path = importlib.import_module("pathlib").Path(self.where)  # here: see aetool.reading
        return made

    def __repr__(self) -> str:
        return f"<Bundle {self.where!r}: {', '.join(self.manifest.variants)}>"

    @classmethod
    def open(
        cls, path: AnyPath, *, limits: Limits = DEFAULT_LIMITS, public_key: AnyPath | None = None
    ) -> "Bundle":
        """Read and validate the manifest of the bundle at `path`.

        Args:
            public_key: file of the key whose signature the bundle must bear; None asks for none.

        Raises:
            BundleError: there is no bundle, or not one that this version can read, or one without that signature.
            DependencyError: a signature is asked for and `cryptography` is not installed.
        """
        where = plain_path(path)
        found = _what_is_there(where)
        if found != "a directory":
            if found == "nothing":
                found += _nearest(where)
            raise BundleError(
                f"{where}: a bundle directory was expected, found {found}; make one with aetool export"
            )
        text = _read(where, MANIFEST, limits.manifest_bytes, limits)
        if public_key is not None:
            # By name, and here: nobody without signatures should wait for cryptography.
            importlib.import_module("aetool.signature").require_signed(where, text, public_key)
        return cls(where, Manifest.from_json(text, os.path.join(where, MANIFEST)), limits)

    @classmethod
    def open_whole(cls, path: AnyPath, *, public_key: AnyPath | None = None) -> "Bundle":
        """`open` and `check_files` in one: of one whole bundle, even while others are published in its place."""
        while True:
            bundle = cls.open(path, public_key=public_key)
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
            raise BundleError(f"{self.where}: the manifest lists no file {name!r}; export the bundle again")
        data, place = _read(self.where, name, self.limits.file_bytes, self.limits), os.path.join(self.where, name)
        if len(data) != record.size:
            raise BundleError(
                f"{place}: {record.size:,} bytes expected, found {len(data):,}; the file was "
                "truncated or replaced, fetch or export the bundle again"
            )
        digest = sha256(data)
        if digest != record.sha256:
            raise BundleError(
                f"{place}: sha256 {record.sha256[:12]}... expected, found {digest[:12]}...; the "
                "file was changed, fetch or export the bundle again"
            )
        return data

    def graph(self, graph: str, precision: str = "fp32") -> bytes:
        """The ONNX file of `graph` (one of GRAPHS) in `precision`."""
        files = self.variant(precision).files
        if graph not in files:
            raise BundleError(f"{self.where}: has no {graph!r} in {precision}; it has {', '.join(files)}")
        return self.read(files[graph])

    def variant(self, precision: str) -> Variant:
        """The graphs, threshold and figures of `precision`.

        Raises:
            BundleError: the bundle does not have that precision; the message lists those it has.
        """
        variants = self.manifest.variants
        if precision not in variants:
            raise BundleError(
                f"{self.where}: has no precision {precision!r}; it has {', '.join(sorted(variants))}"
            )
        return variants[precision]

    def check_files(self) -> int:
        """Read every listed file and refuse any that is not listed; the number of files checked.

        Raises:
            BundleError: a file is missing, changed, or foreign.
        """
        # A fault may be another bundle, published in place of this one meanwhile; pinned, the two differ for sure.
        try:
            with pin(self.where) as directory:
                try:
                    self._check_files()
                except BundleError as error:
                    if not still_there(self.where, directory):
                        raise _ReplacedError(self.where) from error
                    raise
        except OSError as error:  # the directory itself vanished
            raise _ReplacedError(self.where) from error
        return len(self.manifest.files)

    def _check_files(self) -> None:
        text = _read(self.where, MANIFEST, self.limits.manifest_bytes, self.limits)
        if Manifest.from_json(text, os.path.join(self.where, MANIFEST)) != self.manifest:
            raise _ReplacedError(self.where)
        for name in self.manifest.files:
            self.read(name)
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_symlink() or not (
                path.is_dir() or name in (MANIFEST, SIGNATURE) or name in self.manifest.files
            ):
                raise BundleError(f"{path}: foreign file, not listed in the manifest; remove it from the bundle")


class _ReplacedError(BundleError):
    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: was replaced by another bundle since it was opened; open it again")


def _what_is_there(path: str) -> str:
    try:
        return "a directory" if stat.S_ISDIR(os.stat(path).st_mode) else "a file"
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return "nothing"
    except OSError as error:
        return f"what cannot be opened ({error.strerror})"


def _nearest(path: str) -> str:
    """A hint at the name that was probably meant; imported here, for mistakes alone need it."""
    made: str = importlib.import_module("aetool.nearest").file_hint(importlib.import_module("pathlib").Path(path))
    return made


def _read(path: str, name: str, max_bytes: int, limits: Limits) -> bytes:
    try:
        return read_inside(path, name, max_bytes, hard_links=limits.hard_links)
    except FileNotFoundError as error:
        raise BundleError(
            f"{os.path.join(path, name)}: missing; {path} is not a whole bundle, fetch or export it again"
        ) from error
    except OSError as error:
        raise BundleError(
            f"{os.path.join(path, name)}: cannot be read: {error.strerror or error}; mend its "
            "rights, or fetch or export the bundle again"
        ) from error
