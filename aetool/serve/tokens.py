"""The bearer token that a client must show."""

import hmac
from collections.abc import Iterable
from pathlib import Path

from aetool.errors import InputError

VARIABLE = "AETOOL_TOKEN"
_SHORTEST = 16


def read_token(path: Path) -> str:
    """The token in a file, without the space around it.

    Raises:
        InputError: the file cannot be read, or what is in it cannot be a token.
    """
    try:
        return require_token(path.read_text("ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: a token could not be read ({error}); give a file with one line of ASCII"
        ) from error


def require_token(text: str, where: str) -> str:
    """The token that stands in `text`.

    Raises:
        InputError: it is too short to be a secret, or a header cannot hold it.
    """
    token = text.strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{where}: a token of {_SHORTEST} or more ASCII characters without spaces expected, found "
            f"{len(token)} characters; make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def shown(headers: Iterable[tuple[bytes, bytes]], token: str) -> bool:
    """Whether the headers show `token`; takes as long for a nearly right one as for any other."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, found = value.partition(b" ")
            return scheme.lower() == b"bearer" and hmac.compare_digest(found.strip(), token.encode())
    return False
