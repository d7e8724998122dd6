"""Who asks, and by which name: client addresses behind proxies, and the hosts that a server answers to."""

import functools
import ipaddress
from collections.abc import Iterable, Sequence

from aetool.errors import InputError

Headers = Iterable[tuple[bytes, bytes]]
_PORT = 5


class Proxies:
    """The proxies whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """
        Args:
            networks: addresses or networks, such as `10.0.0.1` or `10.0.0.0/8`.

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
        """The address of the client: the last in `X-Forwarded-For` that is no trusted proxy's, or `peer`."""
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
    """The hosts that requests may name."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """
        Args:
            allowed: names without port; `*.example.org` for all below it. Empty: any host.
        """
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
