"""GET through the URL guard, limited in bytes, time and redirects."""

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
from streams.sources.url_guard import CheckedUrl, ForbiddenUrl, UrlGuard, redacted

CAMERA_FRAGMENT = "mjpeg"
"""After a URL that ends as a picture's do, it says that a camera's stream is there. It is not sent."""
_STREAM = "multipart/"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 64 << 10
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "Sightline"}
"""No compression: a small answer could unpack into any size. Some hosts refuse requests without a user agent."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    content: bytes
    content_type: str


class _Pinned(AbstractResolver):
    """Answers with the checked addresses without another lookup: the answer of a second one might differ."""

    def __init__(self, checked: CheckedUrl) -> None:
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
        """Holds no resources."""


async def http_get(
    url: str,
    guard: UrlGuard,
    *,
    max_bytes: int = 64 << 20,
    timeout_seconds: float = 30.0,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """GET `url`. Raises Unavailable, and ForbiddenUrl: also for too many bytes or redirects, for a stream, and for
    answers of 400 to 499 but 429.

    `headers` may contain a key: they are sent to the first host only, never to the target of a redirect.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    sent = {**_HEADERS, **(headers or {})}
    for _ in range(_MAX_REDIRECTS + 1):
        checked = await guard.check(url)
        connector = aiohttp.TCPConnector(resolver=_Pinned(checked), use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, headers=sent
        ) as session:
            try:
                answer = await _get(session, checked, max_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unavailable(f"{redacted(url)}: {type(error).__name__}") from None
        if isinstance(answer, HttpResponse):
            return answer
        url, sent = answer, _HEADERS
    raise ForbiddenUrl(f"{redacted(url)}: more than {_MAX_REDIRECTS} redirects")


async def _get(session: aiohttp.ClientSession, checked: CheckedUrl, max_bytes: int) -> HttpResponse | str:
    """The answer, or the URL that it redirects to."""
    shown = redacted(checked.url)
    # encoded: sent as given, because a signature may cover exactly these characters
    async with session.get(URL(checked.url, encoded=True), allow_redirects=False) as response:
        if response.status in _REDIRECTS and (location := response.headers.get("Location")):
            return urljoin(checked.url, location)
        if response.status >= 500 or response.status == 429:
            raise Unavailable(f"{shown}: answers {response.status}")
        if response.status != 200:
            raise ForbiddenUrl(f"{shown}: answers {response.status}")
        if response.content_type.startswith(_STREAM):
            advice = f"to read it as a camera, add #{CAMERA_FRAGMENT} to the URL"
            raise ForbiddenUrl(f"{shown}: sends a stream ({response.content_type}) without an end; {advice}")
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            content += chunk
            if len(content) > max_bytes:
                raise ForbiddenUrl(f"{shown}: sends more than {max_bytes} bytes")
        return HttpResponse(bytes(content), response.headers.get("Content-Type", ""))
