"""Signatures in the format of OpenSSF Model Signing 1.0 (`model_signing/signature/v1.0`), in model.sig.

A Sigstore bundle with a DSSE envelope around an in-toto statement, which lists every file with its sha256. Keys
are of elliptic curves; nothing is online. Other tools check it without aetool: `model_signing verify key`.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, read_inside, sha256
from aetool.bundle.keys import has_signed, pem_of, signature_by
from aetool.bundle.manifest import MANIFEST, MODEL_SIGNATURE, SIGNATURE, Manifest
from aetool.bundle.schema import loads
from aetool.errors import BundleError

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"
_IGNORED = (MODEL_SIGNATURE, SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore")
MAX_BYTES = 8 << 20
"""Largest size of model.sig, in bytes: it lists every file."""


def sign_model(text: bytes, manifest: Manifest, key: Any) -> str:
    """Return the content of model.sig.

    Args:
        text: manifest.json.
        manifest: the same, read.
        key: private key of an elliptic curve.
    """
    digests = dict(sorted(_digests(text, manifest).items()))
    root = hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": manifest.name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(_IGNORED),
            },
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in digests.items()
            ],
        },
    }
    payload = json.dumps(statement).encode()
    signature = signature_by(key, _encoded(payload))
    content = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": _hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(content, indent=2) + "\n"


def require_model_signed(
    bundle: AnyPath, text: bytes, key: Any, where_key: AnyPath, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Refuse a bundle whose manifest, as read, and files are not those that the owner of a key signed.

    Args:
        bundle: the bundle's directory.
        text: its manifest.json.
        key: the public key.
        where_key: its file, for messages.
        limits: bounds on what is read.

    Raises:
        BundleError: not signed, signed with another key, or changed since.
    """
    bundle = Path(bundle)
    where = bundle / MODEL_SIGNATURE
    remedy = "have its author sign it again, or do not use the bundle"
    try:
        content = loads(read_inside(bundle, MODEL_SIGNATURE, MAX_BYTES, limits))
        envelope, material = content["dsseEnvelope"], content["verificationMaterial"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signature,) = [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]]
        kinds = content["mediaType"], envelope["payloadType"]
        hint = material["publicKey"].get("hint") or _hint(key)
    except FileNotFoundError as error:
        raise BundleError(
            f"{bundle}: has no {MODEL_SIGNATURE}, and one is required by a key of this kind; have its author sign "
            "it (aetool sign)"
        ) from error
    except OSError as error:
        raise BundleError(f"{where}: cannot be read: {error.strerror}; fetch the bundle again") from error
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise BundleError(
            f"{where}: is not a valid signature; fetch the bundle again, or sign it again"
        ) from error
    if kinds != (_MEDIA_TYPE, _PAYLOAD_TYPE):
        raise BundleError(f"{where}: {_MEDIA_TYPE} was expected, found {kinds[0]!r:.80}; upgrade aetool")
    if not has_signed(key, signature, _encoded(payload)):
        if hint != _hint(key):
            raise BundleError(
                f"{where}: made with the key {str(hint)[:12]!r}, {where_key} is {_hint(key)[:12]!r}; give its "
                "author's public key, or do not use the bundle"
            )
        raise BundleError(f"{where}: is not what was signed; it was changed since: {remedy}")
    manifest = Manifest.from_json(text, str(bundle / MANIFEST))
    if _signed(payload) != _digests(text, manifest):
        raise BundleError(f"{bundle}: its files are not those that were signed; it was changed since: {remedy}")


def _signed(payload: bytes) -> Mapping[str, str] | None:
    """Return the hashes that a statement lists, by name; None if it is another kind of statement."""
    try:
        statement = loads(payload)
        kinds = statement["_type"], statement["predicateType"], statement["predicate"]["serialization"]["method"]
        resources = statement["predicate"]["resources"]
        found = {each["name"]: each["digest"] for each in resources if each["algorithm"] == "sha256"}
    except (ValueError, KeyError, TypeError):
        return None
    return found if kinds == (_STATEMENT, _PREDICATE, "files") and len(found) == len(resources) else None


def _digests(text: bytes, manifest: Manifest) -> dict[str, str]:
    return {MANIFEST: sha256(text), **{name: record.sha256 for name, record in manifest.files.items()}}


def _encoded(payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding of DSSE 1.0."""
    return f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def _hint(public_key: Any) -> str:
    return sha256(pem_of(public_key))
