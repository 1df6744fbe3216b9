"""Counts frames that a live source dropped before acceptance: a `shed` record per minute on `frames.observed`."""

from __future__ import annotations

from dataclasses import dataclass

from schemas import codec
from schemas.cloudevents import JSON, OBSERVED_TYPE, headers
from schemas.events import Observed
from schemas.identity import frame_id, partition_key
from schemas.topics import OBSERVED
from streams.clock import Clock, utc
from streams.sources.uuid7 import uuid7
from streams.transport import NewRecord

_RECORD_SECONDS = 60.0


@dataclass(slots=True)
class ShedCounter:
    """The frames of one feed that were dropped for one `reason` since the last record."""

    tenant: str
    feed: str
    reason: str
    clock: Clock
    _count: int = 0
    _since: float = 0.0
    _session: str = ""

    @property
    def count(self) -> int:
        return self._count

    def add(self, count: int) -> None:
        if not self._count:
            self._since = self.clock.monotonic()
        self._count += count

    @property
    def due(self) -> bool:
        return self._count > 0 and self.clock.monotonic() - self._since >= _RECORD_SECONDS

    def record(self) -> NewRecord | None:
        """The frames dropped since the last `reset`, None if there are none. The same call again gives the same id."""
        if not self._count:
            return None
        now = self.clock.now()
        self._session = self._session or uuid7(now)
        frame = frame_id(self.tenant, self.feed, f"shed:{self._session}")
        observed = Observed(
            frame=frame,
            tenant=self.tenant,
            feed=self.feed,
            kind="frame",
            state="shed",
            published=utc(now),
            reason=self.reason,
            count=self._count,
        )
        record_headers = headers(
            OBSERVED_TYPE,
            tenant=self.tenant,
            feed=self.feed,
            frame=frame,
            time=observed.published,
            content_type=JSON,
        )
        return NewRecord(
            OBSERVED, partition_key(self.tenant, self.feed), codec.encode_observed(observed), record_headers
        )

    def reset(self) -> None:
        """Call it when the record is durable: counting starts at 0, and the next record has another id."""
        self._count, self._session = 0, ""
