"""Signatures of bundles, made and checked offline by `cryptography`.

A key of Ed25519 (RFC 8032) signs manifest.json byte by byte, which holds the sha256 of every other file; the
signature lies beside it in signature.json. A key of an elliptic curve makes a signature of OpenSSF Model Signing,
model.sig, see `_model_signature`. `cryptography` is imported only when a signature is made or checked.
"""

import base64
import json
from pathlib import Path
from typing import Any

from aetool.bundle._model_signature import MAX_BYTES as MODEL_SIGNATURE_BYTES
from aetool.bundle._model_signature import require_model_signed, sign_model
from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, read_inside, sha256
from aetool.bundle.keys import has_signed, is_of_a_curve, raw_of, read_key, signature_by
from aetool.bundle.manifest import MANIFEST, MODEL_SIGNATURE, SIGNATURE, Manifest
from aetool.bundle.schema import loads
from aetool.errors import BundleError

ALGORITHM = "ed25519"
_PURPOSE = b"aetool bundle signature 1\n"
"""Signed before the manifest, so that a signature made for another purpose cannot pass for one of a bundle."""
MAX_BYTES = 64 << 10
"""Largest size of signature.json, in bytes."""
SIGNATURES = {SIGNATURE: MAX_BYTES, MODEL_SIGNATURE: MODEL_SIGNATURE_BYTES}
"""Files of signatures, and their largest sizes, in bytes."""


def signature_of(text: bytes, manifest: Manifest, private_key: AnyPath) -> tuple[str, str]:
    """Return the file that a key's signature of a bundle lies in, and its content.

    Args:
        text: manifest.json.
        manifest: the same, read.
        private_key: file of the key, whose kind decides the format.

    Raises:
        InputError: no private key in that file.
        DependencyError: `cryptography` is not installed.
    """
    key = read_key(private_key, "private", curves=True)
    if is_of_a_curve(key):
        return MODEL_SIGNATURE, sign_model(text, manifest, key)
    return SIGNATURE, sign(text, private_key)


def sign(manifest: bytes, private_key: AnyPath) -> str:
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
    key = read_key(private_key, "private")
    return {
        "algorithm": ALGORITHM,
        "public_key": _fingerprint(key.public_key()),
        "signature": base64.b64encode(signature_by(key, content)).decode(),
    }


def require_signed(bundle: AnyPath, manifest: bytes, public_key: AnyPath, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a bundle whose manifest, as read, was not signed with the private half of `public_key`.

    Raises:
        BundleError: not signed, signed with another key, or changed since.
        InputError: no public Ed25519 key in that file.
        DependencyError: `cryptography` is not installed.
    """
    key = read_key(public_key, "public", curves=True)
    if is_of_a_curve(key):
        require_model_signed(bundle, manifest, key, public_key, limits)
        return
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
    key = read_key(public_key, "public")
    try:
        algorithm, signature = found["algorithm"], base64.b64decode(found["signature"], validate=True)
        signer = str(found.get("public_key"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # binascii.Error is a ValueError
        raise BundleError(
            f"{where}: is not a valid signature; fetch the bundle again, or sign it again"
        ) from error
    if algorithm != ALGORITHM:
        raise BundleError(f"{where}: {ALGORITHM} expected, found {algorithm!r:.40}; upgrade aetool")
    if not has_signed(key, signature, content):
        if signer != _fingerprint(key):
            raise BundleError(
                f"{where}: made with the key {signer[:12]!r}, {public_key} is {_fingerprint(key)[:12]!r}; give "
                "its author's public key, or do not use the bundle"
            )
        raise BundleError(changed)


def _fingerprint(key: Any) -> str:
    """Return the sha256 of the 32 bytes of a public key."""
    return sha256(raw_of(key))
