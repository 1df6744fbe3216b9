"""Is the worker ready, and is it alive? Two questions with different consequences.

Not ready: no traffic, no restart (models are not warm, it stopped by an error, it waits for a store or the broker).
Not alive: restart it (the committed position stands still although there is work and nothing is waited for).
"""

from __future__ import annotations

from streams.clock import Clock


class Health:
    def __init__(self, clock: Clock, stall_seconds: float) -> None:
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._warm = False
        self._cause: str | None = None
        self._waits: dict[str, str] = {}
        self._lag = 0
        self._progressed_at = clock.monotonic()

    def warmed(self) -> None:
        """Every stage is open and warm; the stall rule counts from here."""
        self._warm = True
        self.progressed()

    def stopped(self, cause: str) -> None:
        """An error ended the work; it stays so until the process is restarted."""
        self._cause = cause

    def waits_for(self, what: str, why: str) -> None:
        """`what` (index, blobs, broker, `stage NAME`, a partition) is away."""
        self._waits[what] = why

    def recovered(self, what: str) -> None:
        """`what` is back; when it was the last, the stall rule starts over."""
        if self._waits.pop(what, None) is not None and not self._waits:
            self.progressed()

    @property
    def waits(self) -> dict[str, str]:
        return dict(self._waits)

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
        reasons = [] if self._warm else ["models are not warm yet"]
        return reasons + [f"waits for {what}: {why}" for what, why in self._waits.items()]

    def stall_reason(self) -> str | None:
        """Why the process should be restarted, or None."""
        idle_seconds = self._clock.monotonic() - self._progressed_at
        if not self._warm or self._cause is not None or self._waits or self._lag == 0:
            return None
        if idle_seconds <= self._stall_seconds:
            return None
        return f"{self._lag} records to do and nothing committed for {idle_seconds:.0f} s"
