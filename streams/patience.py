"""Waiting out what passes: growing pauses with jitter, and everybody may know what is waited for."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from streams.clock import Clock
from streams.health import Health
from streams.metrics import Metrics

T = TypeVar("T")


def pauses(first_seconds: float, most_seconds: float) -> Iterator[float]:
    """Endless pauses, each about twice the one before, up to a third off so that workers do not return in step."""
    pause = first_seconds
    while True:
        yield pause * random.uniform(0.67, 1.0)
        pause = min(2 * pause, most_seconds)


class Patience:
    """Tries again until it works. Only cancelling ends it: what is away comes back, and no frame dies of it."""

    def __init__(
        self, clock: Clock, health: Health, metrics: Metrics, *, first_seconds: float, most_seconds: float
    ) -> None:
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds

    async def until(
        self, what: str, attempt: Callable[[], Awaitable[T]], passing: type[Exception] | tuple[type[Exception], ...]
    ) -> T:
        """The result of `attempt`, called until it raises none of `passing`; other errors go through."""
        waits = pauses(self._first_seconds, self._most_seconds)
        while True:
            try:
                result = await attempt()
            except passing as error:
                self._health.waits_for(what, str(error) or type(error).__name__)
                self._metrics.retries.labels(what).inc()
                await self._clock.sleep(next(waits))
            except BaseException:
                self._health.found(what)
                raise
            else:
                self._health.found(what)
                return result
