"""Counts of one tenant's frames by state and feed, read from the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import structlog

from schemas import cloudevents
from schemas.codec import decode_frame, decode_observed
from schemas.errors import NewerMajor, Undecodable
from schemas.events import Observed
from schemas.identity import DEFAULT_TENANT
from schemas.topics import OBSERVED, RAW
from sightline.api.skip_state import skip_states
from streams.lifecycle.dead_letters import REPLAYED_HEADER
from streams.topic_reader import TopicReader
from streams.transport import Record, Transport

_log = structlog.get_logger("sightline.api")
SEGMENT = cloudevents.SEGMENT_TYPE.encode()
CHUNK_RECORDS = 1000
"""Records of under 1 KB each; between two chunks the page gets its pictures."""


class Tally:
    """Reads `frames.observed` from its beginning, one chunk per partition and step, and counts the tenant's frames.

    `declared_states` are the stages' `skip_states`; each of them has its count. With `reads_raw`, `frames.raw` is read
    too, and frames that wait are counted as accepted. Where its records hold pictures that would be too much to read.
    """

    def __init__(
        self, transport: Transport, declared_states: Mapping[str, str], tenant: str, *, reads_raw: bool = True
    ) -> None:
        self._transport = transport
        self._declared_states = declared_states
        self._tenant = tenant
        self._reads_raw = reads_raw
        self._reader = TopicReader(transport, OBSERVED, page_records=CHUNK_RECORDS)
        self._raw_reader = TopicReader(transport, RAW, page_records=CHUNK_RECORDS)
        self._accepted = 0
        self._states: Counter[str] = Counter()
        self._feeds: dict[str, dict[str, Any]] = {}

    async def step(self) -> bool:
        """Count new records. Returns whether there were any. Raises Unavailable."""
        topics = await self._transport.topics()
        raw = await self._raw_reader.next_pages() if RAW in topics and self._reads_raw else []
        self._accepted += sum(_raw_tenant(record) == self._tenant for record in raw)
        records = await self._reader.next_pages() if OBSERVED in topics else []
        for record in records:
            try:
                self._count(decode_observed(record.value, record.headers))
            except (Undecodable, NewerMajor) as error:
                _log.warning("observed record not counted", offset=record.offset, reason=str(error))
        return bool(raw or records)

    def _count(self, observed: Observed) -> None:
        if observed.tenant != self._tenant:
            return
        self._states[observed.state] += observed.count
        for state in skip_states(observed.skipped.values(), self._declared_states):
            self._states[state] += observed.count
        feed = self._feeds.setdefault(observed.feed, {"frames": 0, "last": ""})
        feed["frames"] += observed.count
        feed["last"] = max(feed["last"], observed.published.isoformat())

    def counts(self) -> dict[str, int]:
        """Frames accepted (`in`), and of those: enriched, enriched by each skip state, dead; and shed ones."""
        names = ("enriched", *self._declared_states.values(), "dead", "shed")
        states = {name: self._states[name] for name in names}
        return {"in": max(self._accepted, states["enriched"] + states["dead"]), **states}

    def feeds(self) -> dict[str, dict[str, Any]]:
        """By feed, the number of finished frames and the time of the last one."""
        return dict(sorted(self._feeds.items()))


def _raw_tenant(record: Record) -> str:
    """Of a record that cannot be read, the default tenant, as in its dead letter; empty where it waits for a newer
    version of Sightline, and where the frame was accepted before: it was dead, or comes from another plan's topic."""
    if REPLAYED_HEADER in record.headers or record.headers.get("ce_type") == SEGMENT:
        return ""
    try:
        return decode_frame(record.value, record.headers).event.tenant
    except Undecodable:
        return DEFAULT_TENANT
    except NewerMajor:
        return ""
