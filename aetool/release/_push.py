"""Publishing: a bundle into a store, and the channel that names it."""

from pathlib import Path
from typing import NamedTuple

from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, read_inside, sha256
from aetool.bundle.manifest import MANIFEST, SIGNATURE, Manifest
from aetool.bundle.signature import SIGNATURES, sign
from aetool.errors import AetoolError, BundleError, InputError, ReleaseError, reason_of
from aetool.release._channel import (
    MOST_BYTES,
    Channel,
    channel_file,
    expiry,
    made_at,
    now,
    read_channel,
    text_of,
    version_of,
    write_channel,
)
from aetool.release._store import Store, open_store, read

DAYS = 90.0
"""Days until a channel's file expires, unless it is renewed."""


class Pushed(NamedTuple):
    """Result of `push`."""

    channel: Channel
    written: int
    """Files that were not in the store yet."""
    signed: bool


def push(
    bundle: AnyPath,
    store: str | Path | Store,
    *,
    channel: str = "stable",
    private_key: AnyPath | None = None,
    expires_days: float = DAYS,
    allow_downgrade: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Pushed:
    """Put a bundle into a store as a version that never changes, and make it the current one of a channel.

    Files that are there whole are not written again, and the channel's file comes last: a push that was
    interrupted leaves the old release, and is continued by the next.

    Args:
        bundle: the bundle.
        store: a directory, or a URI: oci://, hf://, or one that pyarrow or fsspec knows.
        channel: such as `stable` or `canary`.
        private_key: Ed25519 key that signs the channel and the bundle; None signs nothing.
        expires_days: days after which agents no longer switch by this file.
        allow_downgrade: release a bundle that is older than the channel's, and let agents take it.
        limits: bounds on what is read of the bundle.

    Raises:
        BundleError: the bundle is not whole.
        ReleaseError: it is older than the channel's, or the store cannot be used.
        InputError: the key or the channel's name.
    """
    opened = Bundle.open_whole(bundle, limits=limits)
    text = read_inside(opened.path, MANIFEST, limits.manifest_bytes, limits)
    manifest = Manifest.from_json(text, str(opened.path / MANIFEST))
    if manifest != opened.manifest:
        raise BundleError(f"{bundle}: was replaced by another bundle in the meantime; push it again")
    version, file, until = version_of(manifest, text), channel_file(channel), expiry(expires_days)
    signatures = _signatures(opened, text, private_key, limits)
    place = open_store(store) if isinstance(store, str | Path) else store
    try:
        with place.locked():
            before = _channel_there(place, channel)
            if before is not None and made_at(manifest) < before.made and not allow_downgrade:
                raise ReleaseError(
                    f"{bundle}: was made {made_at(manifest)}, the bundle in {channel} {before.made}; push it with "
                    "--allow-downgrade if agents shall go back to it"
                )
            written = _write_version(place, version, opened, text, signatures)
            sequence = 1 if before is None else before.sequence + 1
            made = Channel(
                channel=channel,
                sequence=sequence,
                release=sequence,
                version=version,
                manifest_sha256=sha256(text),
                size=len(text) + sum(record.size for record in manifest.files.values()),
                made=made_at(manifest),
                created=text_of(now()),
                expires=until,
                allow_downgrade=allow_downgrade,
            )
            place.write(file, write_channel(made, private_key))
    except OSError as error:
        raise _unusable(place, error) from error
    return Pushed(made, written, private_key is not None)


def renew(
    store: str | Path | Store,
    *,
    channel: str = "stable",
    private_key: AnyPath | None = None,
    public_key: AnyPath | None = None,
    expires_days: float = DAYS,
) -> Channel:
    """Extend the expiry of a channel; the version stays released as it was.

    Args:
        store: the store.
        channel: the channel.
        private_key: key that signs the new file.
        public_key: key that must have signed the old one.
        expires_days: days from now.

    Raises:
        ReleaseError: there is no such channel, its signature is wrong, or the store cannot be used.
    """
    place = open_store(store) if isinstance(store, str | Path) else store
    try:
        with place.locked():
            before = _channel_there(place, channel, public_key)
            if before is None:
                raise ReleaseError(
                    f"{place.where}: has no channel {channel!r}; release a bundle: aetool release push"
                )
            renewed = before._replace(
                sequence=before.sequence + 1, created=text_of(now()), expires=expiry(expires_days)
            )
            place.write(renewed.file, write_channel(renewed, private_key))
    except OSError as error:
        raise _unusable(place, error) from error
    return renewed


class Listed(NamedTuple):
    """One version of a store."""

    version: str
    name: str
    made: str
    size: int
    channels: tuple[str, ...]
    """Channels whose current version it is."""


def listing(
    store: str | Path | Store, *, public_key: AnyPath | None = None
) -> tuple[list[Channel], list[Listed], list[str]]:
    """Return the channels and versions of a store, and what is wrong with others; half a version is none.

    Raises:
        ReleaseError: the store cannot be read.
    """
    place = open_store(store) if isinstance(store, str | Path) else store
    channels, versions, problems = [], [], []
    try:
        for file in place.names("channels"):
            name = file.removesuffix(".json")
            try:
                found = _channel_there(place, name, public_key)
            except AetoolError as error:
                problems.append(str(error))
            else:
                channels += [] if found is None else [found]
        for version in place.names("versions"):
            try:
                text = read(place, f"versions/{version}/{MANIFEST}", DEFAULT_LIMITS.manifest_bytes)
                manifest = Manifest.from_json(text, f"{place.where}/versions/{version}/{MANIFEST}")
            except FileNotFoundError:
                problems.append(f"{place.where}/versions/{version}: not whole; push its bundle again")
                continue
            except AetoolError as error:
                problems.append(str(error))
                continue
            size = len(text) + sum(record.size for record in manifest.files.values())
            current = tuple(each.channel for each in channels if each.version == version)
            versions.append(Listed(version, manifest.name, made_at(manifest), size, current))
    except OSError as error:
        raise _unusable(place, error) from error
    return channels, sorted(versions, key=lambda each: (each.made, each.version)), problems


def _channel_there(place: Store, name: str, public_key: AnyPath | None = None) -> Channel | None:
    file = channel_file(name)
    try:
        text = read(place, file, MOST_BYTES)
    except FileNotFoundError:
        return None
    return read_channel(text, name, f"{place.where}/{file}", public_key)


def _signatures(
    bundle: Bundle, text: bytes, private_key: AnyPath | None, limits: Limits
) -> list[tuple[str, bytes]]:
    """Return the signatures of the version: that of the key, and the bundle's own."""
    found = {}
    for name, most in SIGNATURES.items():
        try:
            found[name] = read_inside(bundle.path, name, most, limits)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"{bundle.path / name}: cannot be read: {error.strerror}; sign it again") from error
    if private_key is not None:
        found[SIGNATURE] = sign(text, private_key).encode()
    return list(found.items())


def _write_version(
    place: Store, version: str, bundle: Bundle, text: bytes, signatures: list[tuple[str, bytes]]
) -> int:
    """Write what is not there yet; the manifest comes last, since it makes the version whole."""
    folder, written = f"versions/{version}", 0
    for name, record in bundle.manifest.files.items():
        if not _is_there(place, f"{folder}/{name}", record.sha256, record.size):
            place.write(f"{folder}/{name}", bundle.read(name))
            written += 1
    for name, content in [*signatures, (MANIFEST, text)]:
        if not _is_there(place, f"{folder}/{name}", sha256(content), len(content)):
            place.write(f"{folder}/{name}", content)
            written += 1
    return written


def _is_there(place: Store, name: str, digest: str, size: int) -> bool:
    try:
        return sha256(read(place, name, size)) == digest
    except OSError:
        return False


def _unusable(place: Store, error: OSError) -> ReleaseError:
    if isinstance(error, AetoolError):
        return ReleaseError(str(error))
    reason = error.strerror or reason_of(error)
    return ReleaseError(
        f"{place.where}: the store cannot be used: {reason}; check its path, rights and connection"
    )
