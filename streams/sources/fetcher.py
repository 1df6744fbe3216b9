"""Fetches pictures over HTTP: from which networks, how many at once, with how many attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from typing import Annotated

from msgspec import Meta, Struct

from streams.clock import Clock
from streams.errors import Unavailable
from streams.retry import Backoff, retry
from streams.sources.http_get import HttpResponse, http_get
from streams.sources.url_guard import UrlGuard

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 10.0


class FetchSettings(Struct, frozen=True, kw_only=True):
    """`[fetch]` of the configuration."""

    allow: tuple[str, ...] = ()
    """Networks that may be fetched from in addition to the public internet: `192.168.1.0/24`, or one address."""
    at_once: Annotated[int, Meta(ge=1, le=256)] = 8
    """Maximum concurrent fetches."""
    attempts: Annotated[int, Meta(ge=1)] = 4
    """Attempts before a picture is refused because its host is unavailable or overloaded."""
    timeout_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """Time limit of one attempt; each redirect has the limit to itself."""
    max_bytes: Annotated[int, Meta(ge=1)] = 32 << 20
    """Maximum size of a picture; `at_once` of them may be in memory."""

    def __post_init__(self) -> None:
        for network in self.allow:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"allow = {network!r}: {error}; write a network such as 192.168.1.0/24") from None

    @property
    def guard(self) -> UrlGuard:
        return UrlGuard(allow=tuple(ip_network(network) for network in self.allow))


@dataclass(frozen=True, slots=True)
class Fetcher:
    """GETs with retries. `headers` go to the first host only, never to the target of a redirect."""

    settings: FetchSettings
    clock: Clock
    headers: Mapping[str, str] = field(default_factory=dict)

    async def get(self, url: str) -> HttpResponse:
        """Raises ForbiddenUrl without another attempt, Unavailable after the last attempt."""
        attempt = partial(
            http_get,
            url,
            self.settings.guard,
            max_bytes=self.settings.max_bytes,
            timeout_seconds=self.settings.timeout_seconds,
            headers=self.headers,
        )
        backoff = Backoff(self.clock, first_seconds=FIRST_PAUSE_SECONDS, most_seconds=MAX_PAUSE_SECONDS)
        return await retry(attempt, Unavailable, backoff, attempts=self.settings.attempts)
