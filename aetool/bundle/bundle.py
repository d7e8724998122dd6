"""A bundle: a directory of graphs, golden vectors and the manifest that binds them together."""

import errno
import os
import stat
from typing import TYPE_CHECKING

from aetool.bundle.files import (
    DEFAULT_LIMITS,
    AnyPath,
    Limits,
    absolute_path,
    linked_file,
    pin,
    plain_path,
    read_inside,
    sha256,
    still_there,
)
from aetool.bundle.manifest import MANIFEST, MODEL_SIGNATURE, SIGNATURE, Manifest, Variant
from aetool.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = "golden.npz"
Identity = tuple[str, dict[str, tuple[float, dict[str, str]]]]
"""Model id, and for each precision the threshold and the hash of each graph."""


def tuning_file(bundle: AnyPath) -> str:
    """Return the path of a bundle's tuning file: beside the bundle, since its own files are bound by hashes."""
    return f"{absolute_path(bundle)}.tuning.json"


class Bundle:
    """A bundle on the disk, opened: its manifest is valid, its files are checked as they are read."""

    def __init__(self, path: AnyPath, manifest: Manifest, limits: Limits = DEFAULT_LIMITS) -> None:
        """Take a manifest that was read from `path`; `open` reads it."""
        self.where = plain_path(path)
        """The directory, as text."""
        self.manifest = manifest
        self.limits = limits

    @property
    def path(self) -> "Path":
        """The directory."""
        from pathlib import Path  # here: see aetool.bundle.files

        return Path(self.where)

    def __repr__(self) -> str:
        """Show path, name and id."""
        return f"<Bundle {self.where!r}: {', '.join(self.manifest.variants)}>"

    @classmethod
    def open(
        cls, path: AnyPath, *, limits: Limits = DEFAULT_LIMITS, public_key: AnyPath | None = None
    ) -> "Bundle":
        """Read and validate the manifest of the bundle at `path`.

        Args:
            path: the bundle's directory.
            limits: bounds on what is read.
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
            from aetool.bundle.signature import (
                require_signed,  # here: who asks for none should not wait for cryptography
            )

            require_signed(where, text, public_key, limits)
        return cls(where, Manifest.from_json(text, os.path.join(where, MANIFEST)), limits)

    @classmethod
    def open_whole(
        cls, path: AnyPath, *, limits: Limits = DEFAULT_LIMITS, public_key: AnyPath | None = None
    ) -> "Bundle":
        """Call `open` and `check_files` on one whole bundle, even while others are published in its place."""
        while True:
            bundle = cls.open(path, limits=limits, public_key=public_key)
            try:
                bundle.check_files()
            except _ReplacedError:
                continue
            return bundle

    def read(self, name: str) -> bytes:
        """Return the content of one file, exactly as it was published.

        Raises:
            BundleError: missing, truncated, changed, or not listed in the manifest; or the whole bundle was
                replaced since it was opened.
        """
        try:
            return self._read_listed(name)
        except BundleError as error:
            if self._was_replaced():
                raise _ReplacedError(os.path.join(self.where, name)) from error
            raise

    def _was_replaced(self) -> bool:
        """Decide whether another valid manifest is there now."""
        try:
            return self._manifest_there() != self.manifest
        except BundleError:  # damaged, or gone: not another bundle
            return False

    def _manifest_there(self) -> Manifest:
        text = _read(self.where, MANIFEST, self.limits.manifest_bytes, self.limits)
        return Manifest.from_json(text, os.path.join(self.where, MANIFEST))

    def _read_listed(self, name: str) -> bytes:
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
        """Return the ONNX file of `graph` (one of GRAPHS) in `precision`."""
        files = self.variant(precision).files
        if graph not in files:
            raise BundleError(f"{self.where}: has no {graph!r} in {precision}; it has {', '.join(files)}")
        return self.read(files[graph])

    def variant(self, precision: str) -> Variant:
        """Return the graphs, threshold and figures of `precision`.

        Raises:
            BundleError: the bundle does not have that precision; the message lists those it has.
        """
        variants = self.manifest.variants
        if precision not in variants:
            raise BundleError(
                f"{self.where}: has no precision {precision!r}; it has {', '.join(sorted(variants))}"
            )
        return variants[precision]

    def identity(self) -> Identity:
        """Return what decides the results of the bundle's precisions."""
        variants = {
            precision: (
                variant.threshold,
                {graph: self.manifest.files[at].sha256 for graph, at in variant.files.items()},
            )
            for precision, variant in self.manifest.variants.items()
        }
        return self.manifest.id, variants

    def still_is(self, earlier: Identity, precision: str) -> bool:
        """Decide whether `precision` gives what it gave with the identity `earlier`, or more graphs."""
        model, variants = self.identity()
        threshold, graphs = variants[precision]
        before = earlier[1].get(precision, (threshold, {}))
        return model == earlier[0] and threshold == before[0] and graphs.items() >= before[1].items()

    def check_files(self) -> int:
        """Read every listed file, refuse any that is not listed, and return the number of files checked.

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
        if self._manifest_there() != self.manifest:
            raise _ReplacedError(self.where)
        for name in self.manifest.files:
            self._read_listed(name)
        known = {MANIFEST, SIGNATURE, MODEL_SIGNATURE, *self.manifest.files}
        behind_links = self._behind_links(known) if self.limits.symbolic_links else frozenset()
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if os.path.realpath(path) in behind_links or (
                not path.is_symlink() and (path.is_dir() or name in known)
            ):
                continue
            raise BundleError(f"{path}: foreign file, not listed in the manifest; remove it from the bundle")

    def _behind_links(self, names: set[str]) -> frozenset[str]:
        """Return the files that `names` lead to, and the directories that hold these."""
        found: set[str] = set()
        for name in names:
            try:
                tree, rest = linked_file(self.where, name)
            except OSError:  # the signature, which need not be there, and is foreign where it leads elsewhere
                continue
            parts = rest.split("/")
            found.update(os.path.join(tree, *parts[: i + 1]) for i in range(len(parts)))
        return frozenset(found)


class _ReplacedError(BundleError):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: the bundle was replaced by another bundle since it was opened; load it again "
            "(preload=True opens all of its graphs at once)"
        )


def _what_is_there(path: str) -> str:
    try:
        return "a directory" if stat.S_ISDIR(os.stat(path).st_mode) else "a file"
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return "nothing"
    except OSError as error:
        return f"what cannot be opened ({error.strerror})"


def _nearest(path: str) -> str:
    """Return a hint at the name that was probably meant."""
    from pathlib import Path  # here: mistakes alone need them

    from aetool.suggest import file_hint

    return file_hint(Path(path))


def _read(path: str, name: str, max_bytes: int, limits: Limits) -> bytes:
    try:
        return read_inside(path, name, max_bytes, limits)
    except FileNotFoundError as error:
        raise BundleError(
            f"{os.path.join(path, name)}: missing; {path} is not a whole bundle, fetch or export it again"
        ) from error
    except OSError as error:
        raise BundleError(
            f"{os.path.join(path, name)}: cannot be read: {error.strerror or error}; {_remedy(error, path, name)}"
        ) from error


def _remedy(error: OSError, path: str, name: str) -> str:
    """Return what to do about a file that cannot be read."""
    if error.errno == errno.ELOOP:
        try:
            linked_file(path, name)
        except OSError:
            return "copy the bundle with `cp -rL`, which makes files of its links"
        return f"{_allow('symbolic_links=true')}, or copy the bundle with `cp -rL`"
    if error.errno == errno.EMLINK:
        return f"{_allow('hard_links=true')}, or copy the bundle"
    if error.errno == errno.EFBIG:
        limit = "manifest_bytes" if name == MANIFEST else "file_bytes"
        return f"if you trust it: {_allow(limit + '=NUMBER')}"
    return "fix its permissions, or fetch or export the bundle again"


def _allow(limit: str) -> str:
    name, _, value = limit.partition("=")
    return f"allow it with --limit {limit}, in Python limits=Limits({name}={'True' if value == 'true' else '...'})"
