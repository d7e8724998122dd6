"""Channel: the signed file of a store that says which version is current."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from aetool.bundle.files import AnyPath, sha256
from aetool.bundle.manifest import Manifest
from aetool.bundle.schema import OPTIONAL, Count, Digest, Size, Source, loads
from aetool.bundle.signature import made_by, require_made_by
from aetool.errors import BundleError, InputError, ReleaseError

FORMAT_VERSION = "1"
MOST_BYTES = 64 << 10
"""Largest size of a channel's file, in bytes."""
_PURPOSE = b"aetool channel signature 1\n"
"""Signed before the text, so that a signature made for another purpose cannot pass for one of a channel."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VERSION = re.compile(r"[0-9a-f]{12}-[0-9a-f]{12}")


class Channel(NamedTuple):
    """What is current."""

    channel: str
    """Its name, so that the file of one cannot stand for another."""
    sequence: Count
    """Number of the file, higher in each that follows: an older file is refused."""
    release: Count
    """Sequence of the file that released the version; those that follow may only extend the expiry."""
    version: str
    """Directory below `versions`."""
    manifest_sha256: Digest
    """Hash of the manifest, which holds the hash of every other file."""
    size: Size
    """Bytes of all files of the version."""
    made: str
    """Time when the bundle was made or calibrated, ISO 8601: older ones are downgrades."""
    created: str
    """Time when this file was made."""
    expires: str
    """Time after which nothing is switched to by this file."""
    allow_downgrade: Annotated[bool, OPTIONAL] = False
    """True: agents may switch to an older bundle than they have."""
    format_version: str = FORMAT_VERSION

    @property
    def file(self) -> str:
        """Name of the file in the store."""
        return channel_file(self.channel)


def channel_file(name: str) -> str:
    """Return the name of a channel's file in a store.

    Raises:
        InputError: no name of a channel.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r:.80} cannot be a channel, which is a-z 0-9 _ -, first a letter or digit")
    return f"channels/{name}.json"


def version_of(manifest: Manifest, text: bytes) -> str:
    """Return the name of a version: the beginnings of the bundle's id and of its manifest's hash.

    Two bundles with one id may differ, by a further precision.
    """
    version = f"{manifest.id[:12]}-{sha256(text)[:12]}"
    if not _VERSION.fullmatch(version):
        raise InputError(f"{manifest.name}: its id {manifest.id!r:.40} is no hash; export it again")
    return version


def made_at(manifest: Manifest) -> str:
    """Return when a bundle was made, or calibrated."""
    return max(manifest.created, str(manifest.calibration.get("created", "")))


def now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


def text_of(moment: datetime) -> str:
    """Return a time as ISO 8601, UTC, in seconds: such texts order as their times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expiry(days: float) -> str:
    """Return the time in so many days, at most 100 years.

    Raises:
        InputError: not a number above 0.
    """
    if not 0 < days <= 36525:
        raise InputError(f"expires: expected days above 0, up to 36525, found {days:g}")
    return text_of(now() + timedelta(days=days))


def write_channel(channel: Channel, private_key: AnyPath | None) -> bytes:
    """Return the content of a channel's file, signed if there is a key."""
    payload = json.dumps(channel._asdict())
    content = {"payload": payload}
    if private_key is None:
        return (json.dumps(content, indent=2) + "\n").encode()
    signature = made_by(private_key, _PURPOSE + payload.encode())
    return (json.dumps({**content, "signature": signature}, indent=2) + "\n").encode()


def read_channel(text: bytes, name: str, where: str, public_key: AnyPath | None) -> Channel:
    """Read a channel's file; the signature comes first, if there is a key.

    Raises:
        ReleaseError: damaged, not signed by the owner of that key, of another channel, or too new.
    """
    remedy = "release the version again: aetool release push"
    try:
        content = loads(text)
        payload = content["payload"].encode()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{where}: not the file of a channel; {remedy}") from error
    if public_key is not None:
        if "signature" not in content:
            raise ReleaseError(f"{where}: is not signed, and a signature is required; push with --private-key")
        changed = f"{where}: is not what was signed; it was changed since, do not use it: {remedy}"
        try:
            require_made_by(public_key, _PURPOSE + payload, content["signature"], where, changed=changed)
        except BundleError as error:
            raise ReleaseError(str(error)) from error
    source = Source(where, remedy, ReleaseError)
    found = source.parse(payload)
    (version,) = source.read_fields(Channel, found, "format_version")
    if version.partition(".")[0] != FORMAT_VERSION:
        raise ReleaseError(f"{where}: format {version!r:.20} is newer than {FORMAT_VERSION}; upgrade aetool")
    channel = source.read(Channel, found)
    if channel.channel != name:
        raise ReleaseError(f"{where}: is the channel {channel.channel!r:.80}, not {name!r}; {remedy}")
    if not _VERSION.fullmatch(channel.version):
        raise ReleaseError(f"{where}: {channel.version!r:.80} is no name of a version; do not use it, {remedy}")
    for key in ("made", "created", "expires"):
        _require_time(getattr(channel, key), key, where)
    return channel


def _require_time(text: str, key: str, where: str) -> None:
    try:
        right = datetime.fromisoformat(text).tzinfo is not None and text.endswith("Z") and len(text) == 20
    except ValueError:
        right = False
    if not right:
        raise ReleaseError(f"{where}: {key} must be a time such as 2026-01-31T12:00:00Z, found {text!r:.40}")
