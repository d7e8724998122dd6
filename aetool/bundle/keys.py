"""Keys for signatures, in PEM: Ed25519, and elliptic curves for OpenSSF Model Signing."""

import os
from pathlib import Path
from typing import Any

from aetool.bundle.files import AnyPath
from aetool.errors import DependencyError, InputError, OutputError

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    _INSTALLED = True
except ImportError:
    _INSTALLED = False

MAX_BYTES = 64 << 10
"""Largest size of a key file, in bytes."""
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Curves of OpenSSF Model Signing."""
_ED25519, _EITHER = "an Ed25519 key", "an Ed25519 or elliptic-curve key"


def write_keys(private_key: Path, kind: str = "ed25519") -> Path:
    """Make a pair of keys: `private_key`, readable by its owner only, and NAME.pub beside it, which is returned.

    Args:
        private_key: the file.
        kind: "ed25519", or "p256" for signatures of OpenSSF Model Signing.

    Raises:
        OutputError: either exists already, or cannot be written.
        DependencyError: `cryptography` is not installed.
    """
    require_installed()
    public_key = private_key.with_name(f"{private_key.name}.pub")
    key: Any = Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made: list[Path] = []
    path = private_key
    try:
        for path, content, mode in ((private_key, private, 0o600), (public_key, pem_of(key.public_key()), 0o644)):
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


def read_key(path: AnyPath, half: str, *, curves: bool = False) -> Any:
    """Return the private or public half of a key.

    Args:
        path: its file, in PEM.
        half: "private" or "public".
        curves: also take keys of elliptic curves.

    Raises:
        InputError: no such key in that file.
        DependencyError: `cryptography` is not installed.
    """
    require_installed()
    expected = f"the {half} half of {_EITHER if curves else _ED25519} in PEM, not encrypted"
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
    if not (isinstance(key, Ed25519PublicKey | Ed25519PrivateKey) or (curves and is_of_a_curve(key))):
        raise InputError(f"{path}: {expected} was expected, found another kind; make a pair with aetool keygen")
    return key


def is_of_a_curve(key: Any) -> bool:
    """Decide whether a key makes or checks signatures of OpenSSF Model Signing."""
    found = isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey)
    return found and key.curve.name in _CURVES


def has_signed(public_key: Any, signature: bytes, content: bytes) -> bool:
    """Decide whether the owner of a key made a signature of `content`."""
    try:
        public_key.verify(signature, content, *_algorithm(public_key))
    except InvalidSignature:
        return False
    return True


def signature_by(private_key: Any, content: bytes) -> bytes:
    """Return the signature of `content`."""
    signature: bytes = private_key.sign(content, *_algorithm(private_key))
    return signature


def pem_of(public_key: Any) -> bytes:
    """Return a public key in PEM."""
    pem: bytes = public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def raw_of(public_key: Any) -> bytes:
    """Return the 32 bytes of a public Ed25519 key."""
    raw: bytes = public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw


def _algorithm(key: Any) -> tuple[Any, ...]:
    """Return what a key of a curve needs besides: the hash that goes with its size."""
    if not is_of_a_curve(key):
        return ()
    made: dict[int, Any] = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}
    return (ec.ECDSA(made[key.curve.key_size]()),)


def require_installed() -> None:
    """Raise a DependencyError unless `cryptography` is installed."""
    if not _INSTALLED:
        raise DependencyError("cryptography", "sign", "signing a bundle, or checking a signature,")
