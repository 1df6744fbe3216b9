"""Retry: one way to try a call again, with growing pauses and jitter.

`Backoff` holds the pauses, `retry` repeats one call, and `Retry` is a worker's: it never gives up, and whatever it
waits for stands in the worker's health and metrics.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Protocol, TypeVar

from streams.clock import Clock
from streams.metrics import ProcessMetrics

T = TypeVar("T")
Transient = type[Exception] | tuple[type[Exception], ...]

SLOW_SECONDS = 2.0
"""A first connection that takes longer is something that a person waits for."""


def pauses(first_seconds: float, most_seconds: float) -> Iterator[float]:
    """Endless pauses, each about twice the one before, up to a third shorter so that workers do not retry in step."""
    pause = first_seconds
    while True:
        yield pause * random.uniform(0.67, 1.0)
        pause = min(2 * pause, most_seconds)


class Backoff:
    """The pauses between attempts; `reset` after a success."""

    def __init__(self, clock: Clock, *, first_seconds: float, most_seconds: float) -> None:
        self._clock, self._bounds = clock, (first_seconds, most_seconds)
        self._pauses = pauses(*self._bounds)

    def reset(self) -> None:
        self._pauses = pauses(*self._bounds)

    def next_seconds(self) -> float:
        """The next pause, for a caller that sleeps by itself."""
        return next(self._pauses)

    async def pause(self) -> None:
        await self._clock.sleep(self.next_seconds())


async def retry(
    attempt: Callable[[], Awaitable[T]],
    transient: Transient,
    backoff: Backoff,
    *,
    attempts: int | None = None,
    failed: Callable[[Exception], None] = lambda _: None,
) -> T:
    """The result of `attempt`, called until it raises none of `transient`; other errors pass through.

    `failed` hears of each transient error. After `attempts` calls (None: unlimited) the last error is raised.
    """
    made = 0
    while True:
        made += 1
        try:
            return await attempt()
        except transient as error:
            if made == attempts:
                raise
            failed(error)
            await backoff.pause()


class RetryObserver(Protocol):
    """Knows what is being waited for; a worker's `Health`."""

    def waits_for(self, what: str, why: str, waiter: Hashable) -> None: ...

    def recovered(self, what: str, waiter: Hashable) -> None: ...

    def gives_up(self, what: str, waiter: Hashable) -> None: ...


class Retry:
    """A worker's retries. Only cancellation ends them: what is away comes back, and no frame dies of an outage."""

    def __init__(
        self,
        clock: Clock,
        observer: RetryObserver,
        metrics: ProcessMetrics,
        *,
        first_seconds: float,
        most_seconds: float,
    ) -> None:
        self._clock, self._observer, self._metrics = clock, observer, metrics
        self._first_seconds, self._most_seconds = first_seconds, most_seconds

    async def forever(self, what: str, attempt: Callable[[], Awaitable[T]], transient: Transient) -> T:
        """As `retry`, without a limit; meanwhile `what` stands in the health as waited for."""
        return await self._forever(what, attempt, transient, object())

    async def connect(self, what: str, attempt: Callable[[], Awaitable[T]], transient: Transient) -> T:
        """As `forever`, for a first connection: `what` is also waited for while one attempt takes long."""
        waiter = object()
        loop, reason = asyncio.get_running_loop(), f"no answer in {SLOW_SECONDS:g} s yet"
        slow = loop.call_later(SLOW_SECONDS, self._observer.waits_for, what, reason, waiter)
        try:
            return await self._forever(what, attempt, transient, waiter)
        finally:
            slow.cancel()

    async def _forever(
        self, what: str, attempt: Callable[[], Awaitable[T]], transient: Transient, waiter: Hashable
    ) -> T:
        def failed(error: Exception) -> None:
            self._observer.waits_for(what, str(error) or type(error).__name__, waiter)
            self._metrics.retries.labels(what).inc()

        backoff = Backoff(self._clock, first_seconds=self._first_seconds, most_seconds=self._most_seconds)
        try:
            result = await retry(attempt, transient, backoff, failed=failed)
        except BaseException:
            self._observer.gives_up(what, waiter)
            raise
        self._observer.recovered(what, waiter)
        return result
