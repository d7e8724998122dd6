"""Access control: bearer tokens, client addresses behind proxies, and the hosts that a server answers to."""

import functools
import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from aetool.errors import InputError

VARIABLE = "AETOOL_TOKEN"
_SHORTEST = 16


def read_token(path: Path) -> str:
    """Read the token in a file, without the space around it.

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
    """Return the token in `text`.

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
    """Decide in constant time whether the headers show `token`."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, found = value.partition(b" ")
            return scheme.lower() == b"bearer" and hmac.compare_digest(found.strip(), token.encode())
    return False


# Who asks, and by which name: client addresses behind proxies, and the hosts that a server answers to.

Headers = Iterable[tuple[bytes, bytes]]
_PORT = 5


class Proxies:
    """Proxies whose `X-Forwarded-For` is trusted."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """Parse the networks.

        Raises:
            InputError: one of them is neither.
        """
        try:
            self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]
        except ValueError as error:
            raise InputError(f"trusted proxy: {error}; give an address or a network such as 10.0.0.0/8") from error
        self.trusted = functools.lru_cache(4096)(self._trusted)
        """Decide whether an address is a trusted proxy's."""

    def client(self, peer: str, headers: Headers) -> str:
        """Return the client's address: the last in `X-Forwarded-For` that is no trusted proxy's, or `peer`."""
        if not self._networks or not self.trusted(peer):
            return peer
        values = [value for name, value in headers if name == b"x-forwarded-for"]
        for text in reversed(b",".join(values).decode("latin-1").split(",")):
            try:
                address = str(ipaddress.ip_address(text.strip()))
            except ValueError:
                return peer
            if not self.trusted(address):
                return address
            peer = address
        return peer

    def _trusted(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class Hosts:
    """Hosts that requests may name."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """Keep the names in lower case."""
        self._exact = {host.lower().strip("[]") for host in allowed if not host.startswith("*.")}
        self._below = tuple(host[1:].lower() for host in allowed if host.startswith("*."))

    def allow(self, headers: Headers) -> bool:
        """Decide whether the one `Host` header names an allowed host."""
        if not self._exact and not self._below:
            return True
        found = [value for name, value in headers if name == b"host"]
        if len(found) != 1:
            return False
        text = found[0].decode("latin-1").strip().lower()
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host = text
        elif not port.isdigit() or len(port) > _PORT:
            return False
        host = host.removeprefix("[").removesuffix("]")
        return host in self._exact or host.endswith(self._below)


def is_loopback(host: str) -> bool:
    """Decide whether only this machine can connect to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
