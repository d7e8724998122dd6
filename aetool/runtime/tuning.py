"""The tuning file beside a bundle: the choice of `aetool tune` for this machine, read with the bundle."""

import errno
import os
import stat
from typing import NamedTuple

from aetool.bundle.bundle import Bundle, tuning_file
from aetool.bundle.files import sha256
from aetool.bundle.manifest import MANIFEST
from aetool.bundle.schema import Source
from aetool.errors import BundleError
from aetool.runtime.machine import Machine, cpu, usable_cores
from aetool.runtime.providers import onnxruntime
from aetool.runtime.settings import RunConfig
from aetool.runtime.tuning_file import KIND, TuningResult
from aetool.version import __version__

MAX_BYTES = 16 << 20
_REMEDY = "run aetool tune again, or delete the file"


class Tuning(NamedTuple):
    """Tuning file beside a bundle."""

    path: str
    choice: RunConfig | None
    """Choice in the file; None where it is not used."""
    ignored: str = ""
    """Reason why it is not used, in words."""

    @property
    def words(self) -> str:
        """Return the choice, or why it is ignored: `machines.tuning.json: int8 on cpu, 512 rows a chunk`."""
        use = f"ignored, {self.ignored}" if self.choice is None else self.choice.words
        return f"{os.path.basename(self.path)}: {use}"


def manifest_digest(bundle: Bundle) -> str:
    """Return the hex sha256 of the manifest's file: it covers the variants, which the bundle's id leaves out."""
    try:
        with open(os.path.join(bundle.where, MANIFEST), "rb") as stream:
            return sha256(stream.read())
    except OSError as error:  # replaced by another bundle just now
        raise BundleError(f"{bundle.where}: can no longer be read: {error.strerror}; open it again") from error


def find_tuning(bundle: Bundle, provider: str, precision: str) -> Tuning | None:
    """Read the tuning file of `bundle`, and decide whether it applies here; None where there is none.

    Args:
        bundle: the bundle, opened.
        provider: the requested provider; "auto" leaves it to the file.
        precision: the requested precision; "auto" leaves it to the file.

    Raises:
        BundleError: the file is damaged.
    """
    path = tuning_file(bundle.where)
    data = _read(path)
    if data is None:
        return None
    source = Source(path, _REMEDY)
    content = source.parse(data)
    kind, release = source.read_fields(TuningResult, content, "kind", "aetool")
    if kind != KIND:
        raise BundleError(f"{path}: kind {KIND!r} expected, found {kind[:40]!r}; {_REMEDY}")
    if release != __version__:  # which may have written the rest in another way
        return Tuning(path, None, f"made with aetool {release[:20]}, this is {__version__}")
    facts, machine, choice = source.read_fields(TuningResult, content, "bundle", "machine", "choice")
    if (facts.id, facts.manifest_sha256) != (bundle.manifest.id, manifest_digest(bundle)):
        return Tuning(path, None, "made for another bundle")
    if differs := machine.difference(this_machine(choice.provider)):
        return Tuning(path, None, f"made on another machine: {differs}")
    for asked, chosen in ((provider, choice.provider), (precision, choice.precision)):
        if asked not in ("auto", chosen):
            return Tuning(path, None, f"chose {chosen}, {asked} was asked for")
    return Tuning(path, choice)


def this_machine(provider: str) -> Machine:
    """Return what decides the speed of graphs on `provider`. Starts no process."""
    versions = {"onnxruntime": str(onnxruntime().__version__)}
    if provider == "openvino":
        from importlib import metadata  # here: nobody else needs to know, and it takes a while

        try:
            versions["onnxruntime-ep-openvino"] = metadata.version("onnxruntime-ep-openvino")
        except metadata.PackageNotFoundError:
            versions["onnxruntime-ep-openvino"] = "none"
    model, flags = cpu()
    return Machine(model, flags, usable_cores(), versions)


def _read(path: str) -> bytes | None:
    """Read the file; None where there is none."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for a writer
            raise BundleError(f"{path}: not a regular file; {_REMEDY}")
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return None
        raise BundleError(
            f"{path}: cannot be read: {error.strerror}; fix its permissions, or {_REMEDY}"
        ) from error
    if len(data) > MAX_BYTES:
        raise BundleError(f"{path}: larger than {MAX_BYTES >> 20} MiB, too large for a tuning file; {_REMEDY}")
    return data
