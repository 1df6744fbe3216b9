"""How pictures are fetched over HTTP: what is allowed, how many at once, how often a host that is away is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Annotated

from msgspec import Meta, Struct

from streams.clock import Clock
from streams.errors import Unavailable
from streams.retry import pauses
from streams.sources.http_get import Fetched, fetch
from streams.sources.url_guard import UrlGuard

_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.5, 10.0


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
            except ValueError as wrong:
                raise ValueError(f"allow = {network!r}: {wrong}; write a network such as 192.168.1.0/24") from None

    @property
    def guard(self) -> UrlGuard:
        return UrlGuard(allow=tuple(ip_network(network) for network in self.allow))


@dataclass(frozen=True, slots=True)
class Fetcher:
    settings: FetchSettings
    clock: Clock
    guard: UrlGuard | None = None
    """Default: the settings' own."""
    headers: Mapping[str, str] = field(default_factory=dict)

    async def get(self, url: str) -> Fetched:
        """Raises ForbiddenUrl at once, Unavailable when the last attempt failed too."""
        guard, waits = self.guard or self.settings.guard, pauses(_FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS)
        for left in reversed(range(self.settings.attempts)):
            try:
                return await fetch(
                    url,
                    guard,
                    max_bytes=self.settings.max_bytes,
                    timeout_seconds=self.settings.timeout_seconds,
                    headers=self.headers,
                )
            except Unavailable:
                if not left:
                    raise
                await self.clock.sleep(next(waits))
        raise AssertionError("at least one attempt is made")
