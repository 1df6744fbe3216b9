"""What a live source dropped before it was accepted: one `shed` record per feed and minute on `frames.observed`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from schemas import codec
from schemas.cloudevents import JSON, OBSERVED_TYPE, headers
from schemas.events import Observed
from schemas.identity import frame_id, partition_key
from schemas.topics import OBSERVED
from streams.clock import Clock
from streams.sources.uuid7 import uuid7
from streams.transport import NewRecord

_EVERY_SECONDS = 60.0
REASON = "source:behind"


@dataclass(slots=True)
class ShedTally:
    tenant: str
    feed: str
    clock: Clock
    _count: int = 0
    _since: float = 0.0
    _session: str = field(default="")

    def add(self, count: int) -> None:
        if not self._count:
            self._since = self.clock.monotonic()
        self._count += count

    @property
    def due(self) -> bool:
        return self._count > 0 and self.clock.monotonic() - self._since >= _EVERY_SECONDS

    def record(self) -> NewRecord | None:
        """What was dropped since the last record, or None for nothing; counting starts anew with `written`."""
        if not self._count:
            return None
        now = self.clock.now()
        self._session = self._session or uuid7(now)
        name = frame_id(self.tenant, self.feed, f"shed:{self._session}")
        observed = Observed(
            frame=name,
            tenant=self.tenant,
            feed=self.feed,
            kind="frame",
            state="shed",
            published=datetime.fromtimestamp(now, UTC),
            reason=REASON,
            count=self._count,
        )
        written = headers(
            OBSERVED_TYPE,
            tenant=self.tenant,
            feed=self.feed,
            frame=name,
            time=observed.published,
            content_type=JSON,
        )
        return NewRecord(OBSERVED, partition_key(self.tenant, self.feed), codec.encode_observed(observed), written)

    def written(self) -> None:
        """The record is durable; the next one has an id of its own."""
        self._count, self._session = 0, ""
