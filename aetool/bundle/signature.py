"""Detached Ed25519 signatures (RFC 8032) of bundles, made and checked offline by `cryptography`.

The signature covers manifest.json byte by byte, and the manifest holds the sha256 of every other file. It lies
beside the manifest in signature.json. `cryptography` is imported only when a signature is made or checked.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, read_inside, sha256
from aetool.bundle.manifest import MANIFEST, SIGNATURE
from aetool.bundle.schema import loads
from aetool.errors import BundleError, DependencyError, InputError, OutputError

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    _INSTALLED = True
except ImportError:
    _INSTALLED = False

ALGORITHM = "ed25519"
_PURPOSE = b"aetool bundle signature 1\n"
"""Signed before the manifest, so that a signature made for another purpose cannot pass for one of a bundle."""
MAX_BYTES = 64 << 10
"""Largest size of a key file and of signature.json, in bytes."""


def write_keys(private_key: Path) -> Path:
    """Make a pair of keys: `private_key`, readable by its owner only, and NAME.pub beside it, which is returned.

    Raises:
        OutputError: either exists already, or cannot be written.
        DependencyError: `cryptography` is not installed.
    """
    _require_installed()
    public_key = private_key.with_name(f"{private_key.name}.pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    made: list[Path] = []
    path = private_key
    try:
        for path, content, mode in ((private_key, private, 0o600), (public_key, public, 0o644)):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            made.append(path)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
    except BaseException as error:
        for half in made:  # half a pair is none, and would stand in the way of the next try
            half.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        remedy = "a key is never replaced, choose another name"
        if not isinstance(error, FileExistsError):
            remedy = "nothing was written; check the free space and the permissions, and try again"
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}; {remedy}") from error
    return public_key


def sign(manifest: bytes, private_key: str | Path) -> str:
    """Return the content of signature.json for the bytes of a manifest.

    Raises:
        InputError: no private Ed25519 key in that file.
        DependencyError: `cryptography` is not installed.
    """
    return json.dumps(made_by(private_key, _PURPOSE + manifest), indent=2) + "\n"


def made_by(private_key: AnyPath, content: bytes) -> dict[str, str]:
    """Return the signature of `content`, which begins with what it is for, as the object that a file holds.

    Raises:
        InputError: no private Ed25519 key in that file.
        DependencyError: `cryptography` is not installed.
    """
    _require_installed()
    key = _key(private_key, "private")
    return {
        "algorithm": ALGORITHM,
        "public_key": _fingerprint(key.public_key()),
        "signature": base64.b64encode(key.sign(content)).decode(),
    }


def require_signed(bundle: AnyPath, manifest: bytes, public_key: AnyPath, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a bundle whose manifest, as read, was not signed with the private half of `public_key`.

    Raises:
        BundleError: not signed, signed with another key, or changed since.
        InputError: no public Ed25519 key in that file.
        DependencyError: `cryptography` is not installed.
    """
    _require_installed()
    bundle = Path(bundle)
    where = bundle / SIGNATURE
    try:
        text = read_inside(bundle, SIGNATURE, MAX_BYTES, limits)
    except FileNotFoundError as error:
        raise BundleError(
            f"{bundle}: is not signed, and a signature is required; a variant added later removes the "
            "signature: have its author sign it (aetool sign)"
        ) from error
    except OSError as error:
        raise BundleError(f"{where}: cannot be read: {error.strerror}; fetch the bundle again") from error
    try:
        content = loads(text)
    except ValueError as error:
        raise BundleError(
            f"{where}: is not a valid signature; fetch the bundle again, or sign it again"
        ) from error
    require_made_by(
        public_key, _PURPOSE + manifest, content, str(where),
        changed=f"{bundle / MANIFEST}: is not what was signed; it was changed since, as by a variant added later: "
        "have its author sign it again, or do not use the bundle",
    )  # fmt: skip


def require_made_by(public_key: AnyPath, content: bytes, found: Any, where: str, *, changed: str) -> None:
    """Refuse a signature that the private half of `public_key` did not make of `content`.

    Args:
        public_key: file of the key.
        content: what was signed, beginning with what it is for.
        found: the object of the signature, as `made_by` returns it.
        where: its place, for messages.
        changed: the message where it is the signature of something else.

    Raises:
        BundleError: it is none, made with another key, or of something else.
        InputError: no public Ed25519 key in that file.
        DependencyError: `cryptography` is not installed.
    """
    _require_installed()
    key = _key(public_key, "public")
    try:
        algorithm, signature = found["algorithm"], base64.b64decode(found["signature"], validate=True)
        signer = str(found.get("public_key"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # binascii.Error is a ValueError
        raise BundleError(
            f"{where}: is not a valid signature; fetch the bundle again, or sign it again"
        ) from error
    if algorithm != ALGORITHM:
        raise BundleError(f"{where}: {ALGORITHM} expected, found {algorithm!r:.40}; upgrade aetool")
    try:
        key.verify(signature, content)
    except InvalidSignature as error:
        if signer != _fingerprint(key):
            raise BundleError(
                f"{where}: made with the key {signer[:12]!r}, {public_key} is {_fingerprint(key)[:12]!r}; give "
                "its author's public key, or do not use the bundle"
            ) from error
        raise BundleError(changed) from error


def _key(path: AnyPath, half: str) -> Any:
    expected = f"the {half} half of an Ed25519 key in PEM, not encrypted"
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {expected} was expected, the file cannot be read ({error})") from error
    try:
        key: Any = (
            serialization.load_pem_public_key(text)
            if half == "public"
            else serialization.load_pem_private_key(text, password=None)
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: {expected} was expected, found none; make a pair with aetool keygen") from error
    if not isinstance(key, Ed25519PublicKey | Ed25519PrivateKey):
        raise InputError(f"{path}: {expected} was expected, found another kind; make a pair with aetool keygen")
    return key


def _fingerprint(key: Any) -> str:
    """Return the sha256 of the 32 bytes of a public key."""
    return sha256(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def _require_installed() -> None:
    if not _INSTALLED:
        raise DependencyError("cryptography", "sign", "signing a bundle, or checking a signature,")
