"""Fetches small things over HTTP through the guard, capped in bytes, time and redirects."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from streams.errors import Unavailable
from streams.sources.url_guard import Checked, ForbiddenUrl, UrlGuard, redacted

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_CHUNK_BYTES = 64 << 10
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "Sightline"}
"""Nothing packed: a small answer could unpack into any size. Some hosts refuse whoever gives no name."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came; `url` is where the last redirect led."""

    url: str
    content: bytes
    content_type: str


class _Pinned(AbstractResolver):
    """Answers with the checked addresses and never asks anyone again: a name cannot change its mind in between."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host != self._checked.host:
            raise OSError(f"{host} was not checked")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._checked.addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def fetch(
    url: str,
    guard: UrlGuard,
    *,
    max_bytes: int = 64 << 20,
    timeout_seconds: float = 30.0,
    headers: Mapping[str, str] | None = None,
) -> Fetched:
    """GET `url`. Raises ForbiddenUrl (also for too many bytes or redirects, and answers of 400 to 499), Unavailable.

    `headers` may hold a key: they are sent to the first host alone, never to where a redirect leads.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    sent = {**_HEADERS, **(headers or {})}
    for _ in range(_MOST_REDIRECTS + 1):
        checked = await guard.check(url)
        connector = aiohttp.TCPConnector(resolver=_Pinned(checked), use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, headers=sent
        ) as session:
            try:
                found = await _get(session, checked, max_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as failed:
                raise Unavailable(f"{redacted(url)}: {type(failed).__name__}") from None
        if isinstance(found, Fetched):
            return found
        url, sent = found, _HEADERS
    raise ForbiddenUrl(f"{redacted(url)}: more than {_MOST_REDIRECTS} redirects")


async def _get(session: aiohttp.ClientSession, checked: Checked, max_bytes: int) -> Fetched | str:
    """What came, or where it is said to be."""
    shown = redacted(checked.url)
    # encoded: sent as it was given, because a signature may have been made over exactly that
    async with session.get(URL(checked.url, encoded=True), allow_redirects=False) as response:
        if response.status in _REDIRECTS and (location := response.headers.get("Location")):
            return urljoin(checked.url, location)
        if response.status >= 500 or response.status == 429:
            raise Unavailable(f"{shown}: answers {response.status}")
        if response.status != 200:
            raise ForbiddenUrl(f"{shown}: answers {response.status}")
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            content += chunk
            if len(content) > max_bytes:
                raise ForbiddenUrl(f"{shown}: sends more than {max_bytes} bytes")
        return Fetched(checked.url, bytes(content), response.headers.get("Content-Type", ""))
