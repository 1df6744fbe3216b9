"""Which URLs may be fetched: resolve once, check every address, dial a checked one, check again at every redirect.

Denied unless a configuration allows its network: whatever is not plainly a public unicast address. `is_global` is not
enough (it is true for translated and some multicast addresses), and names like `127.1` or `0x7f.1` are loopback by
the time they are resolved; therefore addresses are judged, never spellings.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit, urlunsplit

from streams.errors import StreamError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses as text, all of them."""

_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata (100.100.100.200)
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent, at a public address
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/16",  # unspecified, loopback, IPv4-compatible and IPv4-mapped
        "64:ff9b::/96",  # NAT64: an IPv4 address of somebody's choice behind it
        "64:ff9b:1::/48",
        "100::/32",
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/9",  # link-local and the old site-local
        "ff00::/8",
    )
)
"""IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), and what clouds put beside them."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""Bits 64 to 95 of an address that carries an IPv4 address in its last 32 (RFC 5214)."""
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_MAX_URL_CHARACTERS = 2048
_PORTS = {"http": 80, "https": 443}


class ForbiddenUrl(StreamError):  # noqa: N818 - named for the state
    """The URL, or where its name leads, must not be fetched. The message holds no credentials."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A URL with the addresses that it may be dialled at, and at no other."""

    url: str
    host: str
    port: int
    addresses: tuple[Address, ...]


async def system_resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class UrlGuard:
    """`allow` are networks that the operator trusts (a camera's), on top of the public internet."""

    allow: tuple[Network, ...] = ()
    resolve: Resolve = system_resolve

    async def check(self, url: str) -> Checked:
        """Resolve the URL's host once and judge every address. Raises ForbiddenUrl."""
        parts, host, port = split_url(url)
        try:
            texts = [host] if _literal(host) else await self.resolve(host, port)
        except (OSError, UnicodeError) as failed:
            raise ForbiddenUrl(f"{redacted(url)}: the name cannot be resolved ({failed})") from None
        addresses = tuple(dict.fromkeys(found for text in texts if (found := _literal(text)) is not None))
        if not addresses or len(addresses) < len(set(texts)):
            raise ForbiddenUrl(f"{redacted(url)}: the name leads to no address that can be judged")
        for address in addresses:
            if not self.permits(address):
                raise ForbiddenUrl(f"{redacted(url)}: {address} is not public; allow its network to fetch from there")
        return Checked(urlunsplit(parts), host, port, addresses)

    def permits(self, address: Address) -> bool:
        if any(address in network for network in self.allow):
            return True
        return address.is_global and not address.is_multicast and not _special(address)


def _special(address: Address) -> bool:
    if any(address in network for network in _NEVER):
        return True
    return isinstance(address, IPv6Address) and (int(address) >> 32 & 0xFFFFFFFF) in _ISATAP


def _literal(text: str) -> Address | None:
    """An address written out; with a zone (`fe80::1%eth0`) it is none that we dial."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def split_url(url: str) -> tuple[SplitResult, str, int]:
    """Parts, host and port of an http(s) URL without credentials. Raises ForbiddenUrl."""
    if len(url) > _MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ForbiddenUrl("a URL is at most 2048 printable ASCII characters without spaces and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as wrong:
        raise ForbiddenUrl(f"{redacted(url)}: {wrong}") from None
    if parts.scheme not in _PORTS:
        raise ForbiddenUrl(f"{redacted(url)}: only http and https are fetched")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenUrl(f"{redacted(url)}: credentials do not belong into a URL")
    if _literal(host) is None and not _HOST.fullmatch(host):
        raise ForbiddenUrl(f"{redacted(url)}: no host that can be resolved")
    if port == 0:
        raise ForbiddenUrl(f"{redacted(url)}: no port 0")
    return parts, host, port or _PORTS[parts.scheme]


def redacted(url: str) -> str:
    """The URL as it may be logged: no user, no password, no query (where keys stand), no fragment, not too long.

    A password may hold a slash or a question mark that nobody escaped: where an `@` leaves any doubt about what is
    the host, nothing but the scheme is shown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "(no URL)"
    authority, *after = re.split(r"(?=[/?#])", rest, maxsplit=1)
    path = re.split(r"[?#]", after[0])[0] if after else ""
    doubtful = bool(after) and "@" in after[0]
    shown = f"{scheme}://…" if doubtful else f"{scheme}://{authority.rpartition('@')[2]}{path}"
    return "".join(character if character.isprintable() else "?" for character in shown)[:200]
