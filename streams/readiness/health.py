"""Is the process ready, and is it alive? Two questions with different consequences.

Not ready: no traffic, no restart (it is still opening, it stopped by an error, it waits for a store or the broker).
Not alive: restart it (the committed position stands still although there is work and nothing is waited for).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import structlog
from prometheus_client import Gauge

from streams.clock import Clock

log = structlog.get_logger()

REMINDER_SECONDS = 300.0
"""What is waited for is logged when the wait begins, and again after this time."""


class Health:
    """`starting` is the reason until `warmed`; `waiting`, labeled by what is waited for, is 1 meanwhile."""

    def __init__(
        self,
        clock: Clock,
        stall_seconds: float,
        *,
        starting: str = "models are not warm yet",
        waiting: Gauge | None = None,
    ) -> None:
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._starting: str | None = starting
        self._waiting = waiting
        self._cause: str | None = None
        self._waits: dict[str, dict[Hashable, str]] = {}
        """Why, by what is waited for and who waits."""
        self._logged_at: dict[str, float] = {}
        self._began_at: dict[str, float] = {}
        """When the present wait began, of waits that were logged."""
        self._warnings: dict[str, Sequence[str]] = {}
        """What needs a person and keeps nothing from working, by subject."""
        self._lag = 0
        self._progressed_at = clock.monotonic()

    def warmed(self) -> None:
        """Everything is open; the stall rule counts from here."""
        self._starting = None
        self.progressed()

    def stopped(self, cause: str) -> None:
        """An error ended the work; it stays so until the process is restarted."""
        self._cause = cause

    def waits_for(self, what: str, why: str, waiter: Hashable = None) -> None:
        """`what` (index, blobs, broker, `stage NAME`, lost records) is away, or cannot be used until someone acts.

        It is waited for until each `waiter` that said so has said `recovered`: one call that succeeds says nothing
        about those that fail at the same time.
        """
        self._waits.setdefault(what, {})[waiter] = why
        if self._waiting is not None:
            self._waiting.labels(what).set(1)
        self._log_wait(what, why)

    def recovered(self, what: str, waiter: Hashable = None) -> None:
        """`what` is back for `waiter`; when it was the last of all waits, the stall rule starts over."""
        if self._ends_wait(what, waiter):
            began = self._began_at.pop(what, None)
            if began is not None:
                log.info("wait_is_over", what=what, seconds=round(self._clock.monotonic() - began, 1))

    def gives_up(self, what: str, waiter: Hashable = None) -> None:
        """`waiter` no longer needs `what`, which may still be away."""
        if self._ends_wait(what, waiter):
            self._began_at.pop(what, None)

    def all_give_up(self, what: str) -> None:
        """`what` is no longer waited for by any waiter."""
        for waiter in list(self._waits.get(what, ())):
            self.gives_up(what, waiter)

    @property
    def waits(self) -> dict[str, str]:
        """The latest reason by what is waited for."""
        return {what: list(waiters.values())[-1] for what, waiters in self._waits.items()}

    def warn(self, subject: str, lines: Sequence[str]) -> None:
        """What needs a person although the process is ready, in place of what was said of `subject` before."""
        self._warnings[subject] = tuple(lines)

    @property
    def warnings(self) -> list[str]:
        return [line for lines in self._warnings.values() for line in lines]

    def progressed(self) -> None:
        """The committed position moved."""
        self._progressed_at = self._clock.monotonic()

    def set_lag(self, records: int) -> None:
        """`records` are left to commit; a stall counts from the moment there is something to do."""
        if self._lag == 0 or records == 0:
            self.progressed()
        self._lag = records

    def unready_reasons(self) -> list[str]:
        """Empty means ready."""
        if self._cause is not None:
            return [f"stopped: {self._cause}"]
        reasons = [] if self._starting is None else [self._starting]
        waits = [f"waits for {what}: {why}" for what, waiters in self._waits.items() for why in waiters.values()]
        return list(dict.fromkeys(reasons + waits))

    def stall_reason(self) -> str | None:
        """Why the process should be restarted, or None."""
        idle_seconds = self._clock.monotonic() - self._progressed_at
        if self._starting is not None or self._cause is not None or self._waits or self._lag == 0:
            return None
        if idle_seconds <= self._stall_seconds:
            return None
        return f"{self._lag} records to do and nothing committed for {idle_seconds:.0f} s"

    def _ends_wait(self, what: str, waiter: Hashable) -> bool:
        """Take a waiter off; whether it was the last one that waited for `what`."""
        waiters = self._waits.get(what, {})
        if waiters.pop(waiter, None) is None or waiters:
            return False
        del self._waits[what]
        if self._waiting is not None:
            self._waiting.labels(what).set(0)
        if not self._waits:
            self.progressed()
        return True

    def _log_wait(self, what: str, why: str) -> None:
        now = self._clock.monotonic()
        if now - self._logged_at.get(what, float("-inf")) >= REMINDER_SECONDS:
            self._logged_at[what] = now
            self._began_at.setdefault(what, now)
            log.warning("waits", what=what, why=why)
