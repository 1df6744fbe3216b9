"""The live view of one tenant: one reader of the log, any number of listening pages."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import msgspec
import structlog

from schemas.codec import decode_frame
from schemas.errors import NewerMajor, Undecodable
from schemas.events import FrameEvent
from schemas.identity import DEFAULT_TENANT
from schemas.topics import ENRICHED
from sightline.api.cards import event_card
from sightline.api.tally import Tally
from streams.errors import StreamError
from streams.topic_reader import TopicReader
from streams.transport import Record, Transport

_log = structlog.get_logger("sightline.api")
RECENT_CARDS = 24
"""Cards that a page gets when it opens, so that it does not start empty."""
MAX_CARDS_PER_STEP = 12
"""When more frames arrive, a page gets the newest: people cannot follow more. The next card says how many were
`passed_over`, and the counts include all."""
READ_RECORDS = 200
"""Of a partition at a time; when more have arrived, the oldest are passed over."""
CACHED_EVENTS = 512
MAX_WAITING_MESSAGES = 64
"""Of a slow listener; its oldest messages are dropped, because a page shows what is new."""
STATUS_EVERY_STEPS = 4
QUIET_SECONDS = 3.0
"""A log that is opened while the page is served already, or that answers again at once, is nothing to warn of."""


class Message(NamedTuple):
    """One server-sent event: its name and its JSON."""

    name: str
    content: bytes


class Live:
    """Follows `frames.enriched` from its end, without a consumer group. `close` ends `run` and all listeners.

    Nothing of another tenant is counted, shown or kept. See `Tally` for `reads_raw`.
    """

    def __init__(
        self,
        transport: Transport,
        poll_seconds: float,
        declared_states: Mapping[str, str],
        tenant: str = DEFAULT_TENANT,
        *,
        reads_raw: bool = True,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._transport = transport
        self._poll_seconds = poll_seconds
        self._declared_states = declared_states
        self._tenant = tenant
        self._tally = Tally(transport, declared_states, tenant, reads_raw=reads_raw)
        self._reader = TopicReader(transport, ENRICHED, page_records=READ_RECORDS, newest_only=True)
        self._events: OrderedDict[str, FrameEvent] = OrderedDict()
        self._recent: deque[Message] = deque(maxlen=RECENT_CARDS)
        self._listeners: set[asyncio.Queue[Message | None]] = set()
        self._reachable = True
        self._outage = _Outage(quiet_seconds)
        self._closed = False

    async def run(self) -> None:
        steps = 0
        while not self._closed:
            try:
                busy = await self.step()
                self._reachable = True
                self._outage.ended()
            except StreamError as error:  # a right that was withdrawn, or a topic that was deleted, may come back
                busy, self._reachable = False, False
                self._outage.lasts(str(error))
            if steps % STATUS_EVERY_STEPS == 0:
                self._send(self._status_message())
            steps += 1
            await asyncio.sleep(0 if busy else self._poll_seconds)

    async def step(self) -> bool:
        """Read new records once. Returns whether a backlog of counts is left. Raises Unavailable."""
        busy = await self._tally.step()
        records = await self._reader.next_pages() if ENRICHED in await self._transport.topics() else []
        records.sort(key=lambda record: record.timestamp)
        decoded = [event for record in records if (event := _decoded(record)) is not None]
        events = [event for event in decoded if event.tenant == self._tenant]
        for event in events:
            self._cache(event)
        passed_over = max(0, len(events) - MAX_CARDS_PER_STEP)
        for event in events[passed_over:]:
            card = {**event_card(event, self._declared_states), "passed_over": passed_over}
            passed_over = 0
            message = Message("frame", msgspec.json.encode(card))
            self._recent.append(message)
            self._send(message)
        return busy

    async def listen(self) -> AsyncIterator[Message]:
        """The status, the newest frames, then every message as it is made."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._listeners.add(queue)
        try:
            yield self._status_message()
            for recent in list(self._recent):
                yield recent
            while not self._closed and (message := await queue.get()) is not None:
                yield message
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        self._closed = True
        for queue in self._listeners:
            _put(queue, None)

    def event(self, frame: str) -> FrameEvent | None:
        """The event, if it is one of the latest."""
        return self._events.get(frame)

    def status(self) -> dict[str, Any]:
        return {"counts": self._tally.counts(), "feeds": self._tally.feeds(), "log": self._reachable}

    def _status_message(self) -> Message:
        return Message("status", msgspec.json.encode(self.status()))

    def _cache(self, event: FrameEvent) -> None:
        self._events[event.id] = event
        self._events.move_to_end(event.id)
        while len(self._events) > CACHED_EVENTS:
            self._events.popitem(last=False)

    def _send(self, message: Message) -> None:
        for queue in self._listeners:
            _put(queue, message)


class _Outage:
    """Warns once of a log that has been away for `quiet_seconds`."""

    def __init__(self, quiet_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._began: float | None = None
        self._warned = False

    def lasts(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        if now - self._began >= self._quiet_seconds and not self._warned:
            self._warned = True
            _log.warning("log unavailable", reason=reason)

    def ended(self) -> None:
        self._began, self._warned = None, False


def _put(queue: asyncio.Queue[Message | None], message: Message | None) -> None:
    """Does not wait: a listener that does not keep up loses its oldest message."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(message)


def _decoded(record: Record) -> FrameEvent | None:
    try:
        return decode_frame(record.value, record.headers).event
    except (Undecodable, NewerMajor) as error:
        _log.warning("event not shown", offset=record.offset, reason=str(error))
        return None
