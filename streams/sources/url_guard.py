"""Which URLs may be fetched: resolve once, check every address, connect to a checked one, repeat for every redirect.

Only public unicast addresses and the networks that a configuration allows pass. `is_global` is not enough: it is true
for translated and some multicast addresses. Names such as `127.1` or `0x7f.1` resolve to loopback addresses; therefore
addresses are checked, never spellings.
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
"""From host and port to all addresses, as text."""

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
        "64:ff9b::/96",  # NAT64: leads to any IPv4 address
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
"""IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), and addresses that clouds use."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""Bits 64 to 95 of an address that carries an IPv4 address in its last 32 (RFC 5214)."""
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_MAX_URL_CHARACTERS = 2048
_PORTS = {"http": 80, "https": 443}


class ForbiddenUrl(StreamError):  # noqa: N818 - named for the state
    """The URL, or an address that its name resolves to, must not be fetched. The message contains no credentials."""


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL with the only addresses that may be connected to for it."""

    url: str
    host: str
    port: int
    addresses: tuple[Address, ...]


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a host by the system's resolver. Raises OSError."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


@dataclass(frozen=True, slots=True)
class UrlGuard:
    """`allow` are networks that the operator trusts (a camera's), in addition to the public internet."""

    allow: tuple[Network, ...] = ()
    resolve: Resolve = system_resolve

    async def check(self, url: str) -> CheckedUrl:
        """Resolve the URL's host once and check every address. Raises ForbiddenUrl."""
        parts, host, port = split_url(url)
        try:
            texts = [host] if _literal(host) else await self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ForbiddenUrl(f"{redacted(url)}: the name cannot be resolved ({error})") from None
        addresses = tuple(dict.fromkeys(address for text in texts if (address := _literal(text)) is not None))
        if not addresses or len(addresses) < len(set(texts)):
            raise ForbiddenUrl(f"{redacted(url)}: the name does not resolve to plain IP addresses")
        for address in addresses:
            if not self.permits(address):
                raise ForbiddenUrl(f"{redacted(url)}: {address} is not public; to fetch from it, allow its network")
        return CheckedUrl(urlunsplit(parts), host, port, addresses)

    def permits(self, address: Address) -> bool:
        """Whether the address is public or in an allowed network."""
        if any(address in network for network in self.allow):
            return True
        return address.is_global and not address.is_multicast and not _special(address)


def _special(address: Address) -> bool:
    if any(address in network for network in _NEVER):
        return True
    return isinstance(address, IPv6Address) and (int(address) >> 32 & 0xFFFFFFFF) in _ISATAP


def _literal(text: str) -> Address | None:
    """The address that `text` writes out, None for a name; also None with a zone (`fe80::1%eth0`)."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def split_url(url: str) -> tuple[SplitResult, str, int]:
    """Parts, host and port of an http(s) URL without credentials. Raises ForbiddenUrl."""
    if len(url) > _MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ForbiddenUrl("a URL has at most 2048 printable ASCII characters, without spaces and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ForbiddenUrl(f"{redacted(url)}: {error}") from None
    if parts.scheme not in _PORTS:
        raise ForbiddenUrl(f"{redacted(url)}: only http and https are fetched")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenUrl(f"{redacted(url)}: a URL must not contain credentials")
    if _literal(host) is None and not _HOST.fullmatch(host):
        raise ForbiddenUrl(f"{redacted(url)}: not a valid host name")
    if port == 0:
        raise ForbiddenUrl(f"{redacted(url)}: port 0 is not valid")
    return parts, host, port or _PORTS[parts.scheme]


def redacted(url: str) -> str:
    """The URL as it may be logged: no user, no password, no query (it may contain keys), no fragment, 200 characters.

    A password may contain an unescaped slash or question mark: if an `@` leaves any doubt about the host, only the
    scheme is shown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "(no URL)"
    authority, *after = re.split(r"(?=[/?#])", rest, maxsplit=1)
    path = re.split(r"[?#]", after[0])[0] if after else ""
    ambiguous = bool(after) and "@" in after[0]
    shown = f"{scheme}://…" if ambiguous else f"{scheme}://{authority.rpartition('@')[2]}{path}"
    return "".join(character if character.isprintable() else "?" for character in shown)[:200]
