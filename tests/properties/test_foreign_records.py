"""Arbitrary records of other producers: none stops a worker's ingress, its dead letters, or a reader of any topic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import example, given, settings

from schemas import codec, topics
from schemas.cloudevents import DEAD_TYPE, DELETION_TYPE, OBSERVED_TYPE, RAW_TYPE, SEGMENT_TYPE
from schemas.errors import NewerMajor
from streams.analytics.count_record import count_record
from streams.analytics.ledger import Ledger
from streams.analytics.ledger_view import LedgerView
from streams.analytics.settings import AnalyticsSettings
from streams.errors import NewerVersion
from streams.feeds.roster import all_feeds
from streams.lifecycle.accepted_frames import accepted_frames
from streams.lifecycle.check import judge, snapshot
from streams.lifecycle.dead_letters import CLOSES_HEADER, REPLAYED_HEADER, DeadLetters
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.event_lookup import find_event
from streams.transport import Partition, Record
from streams.worker.frame_encoder import RECORD_OVERHEAD_BYTES, FrameEncoder
from streams.worker.ingress import decode_record
from streams.worker.route import Router
from tests.support.events import dead_letter, full_event, observed, raw_event
from tests.support.odd_pictures import quarters, saved

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LIMITS = {topic.name: topic.max_record_bytes for topic in topics.declared(partitions=1)}
PICTURE = saved(quarters(), "JPEG")

values = (
    st.none()
    | st.binary(max_size=60)
    | st.sampled_from(
        [
            PICTURE,
            PICTURE[:20],
            b"{",
            b'{"version": 2}',
            codec.encode_frame(raw_event()),
            codec.encode_frame(full_event(), as_json=True),
            codec.encode_dead(dead_letter()),
            codec.encode_observed(observed()),
            msgspec.json.encode({"captured": "0001-01-01T00:00:00+14:00"}),
        ]
    )
)
types = [RAW_TYPE, SEGMENT_TYPE, DEAD_TYPE, OBSERVED_TYPE, DELETION_TYPE, "sightline.frame.raw.v2", "com.example.x.v1"]
header_values = st.binary(max_size=30) | st.sampled_from(
    [
        *(name.encode() for name in types),
        b"image/jpeg",
        b"IMAGE/JPEG; q=1",
        b"application/json",
        b"application/msgpack",
        b"1.0",
        b"/cams/lobby",
        b"urn:uuid:1",
        b"lobby\0\n",
        b"x" * 1_000_000,
        b"0001-01-01T00:00:00Z",
        b"0001-01-01T00:00:00+14:00",
        b"9999-12-31T23:59:60-05:00",
        b"99999-01-01T00:00:00Z",
        b"frame",
        full_event().id.encode(),
    ]
)
attributes = ["type", "source", "id", "time", "kind", "tenant", "specversion", "subject"]
names = st.sampled_from(
    [*(f"ce_{name}" for name in attributes), "content-type", CLOSES_HEADER, REPLAYED_HEADER, "traceparent", ""]
)
headers = st.dictionaries(names | st.text(max_size=4), header_values, max_size=10)
picture_headers = st.fixed_dictionaries(
    {"ce_source": st.just(b"/cams/lobby"), "ce_id": st.just(b"1"), "content-type": st.just(b"image/jpeg")},
    optional={"ce_time": header_values, "ce_type": header_values, "ce_kind": header_values, "ce_tenant": header_values},
)
timestamps = st.floats() | st.sampled_from([-62135596800.001, -0.001, 0.0, 1.7e12, 253402300800.0])


def record_of(topic: str) -> st.SearchStrategy[Record]:
    return st.builds(
        Record,
        st.just(Partition(topic, 0)),
        st.integers(0, 1 << 40),
        st.just(1),
        st.binary(max_size=8) | st.just(b"default/lobby"),
        values,
        headers | picture_headers,
        timestamps,
        st.sampled_from(["", "", "", "the batch cannot be read"]),
    )


class Log:
    """Topics as they were given, each with one partition; what a reader needs of a transport."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = {
            Partition(topic, 0): [
                msgspec.structs.replace(record, partition=Partition(topic, 0), offset=offset)
                for offset, record in enumerate(records)
            ]
            for topic in LIMITS
        }

    async def topics(self) -> Mapping[str, int]:
        return LIMITS

    async def ends(self, topic: str) -> Mapping[Partition, tuple[int, int]]:
        partition = Partition(topic, 0)
        return {partition: (0, len(self._records[partition]))}

    async def read(self, partition: Partition, offset: int, max_records: int) -> Sequence[Record]:
        return self._records[partition][offset : offset + max_records]


class NoPoints:
    async def collections(self) -> Sequence[str]:
        return ()


@given(record_of(topics.RAW))
@example(Record(Partition(topics.RAW, 0), 0, 1, b"k" * 6_000_000, b"v" * 6_000_000, {"h": b"v" * 6_000_000}, 0.0))
@example(Record(Partition(topics.RAW, 0), 0, 1, b"k", b"v", {f"h{n}": b"v" * 2000 for n in range(9000)}, 0.0))
@settings(max_examples=400)
def test_a_worker_s_ingress_takes_any_record_and_a_dead_one_has_a_letter(record: Record) -> None:
    try:
        inflight = decode_record(record, Router([], {}), ready_at=0.0, repeated=False)
    except NewerVersion:
        assert record.headers["ce_type"].startswith(b"sightline."), "only a newer Sightline's record stops a worker"
        return
    encoder = FrameEncoder(
        topics.ENRICHED, is_last=True, model_set="m", limits=LIMITS, inline_limit_bytes=0, publish_embeddings=False
    )
    encoded = encoder.encode(inflight, NOW)
    for outgoing in encoded.outgoing:
        assert len(outgoing.value or b"") + RECORD_OVERHEAD_BYTES <= LIMITS[outgoing.topic]
    if inflight.death is not None:
        letter = codec.decode_dead(encoded.outgoing[0].value, encoded.outgoing[0].headers)
        assert (letter.offset, letter.reason) == (record.offset, inflight.death.reason)


async def read_all(log: Any) -> None:
    letters = DeadLetters(log)
    for letter in await letters.choose():
        await letters._original(letter, None)
    await Deletions(log).catch_up()
    await all_feeds(log)
    await accepted_frames(log, "default", "lobby")
    await find_event(log, full_event().id, None, "default")
    judge(await snapshot(log, NoPoints(), []), embedding_stages=())  # type: ignore[arg-type]


@given(st.lists(record_of(topics.RAW), max_size=8))
@settings(max_examples=200)
def test_every_reader_of_a_topic_goes_on(records: Sequence[Record]) -> None:
    """But for a newer Sightline's record, where the topic's meaning may have changed."""
    try:
        asyncio.run(read_all(Log(records)))
    except NewerMajor:
        assert any(record.headers.get("ce_type", b"").startswith(b"sightline.") for record in records)


@given(st.lists(record_of(topics.OBSERVED), max_size=8))
def test_analytics_count_what_they_can(records: Sequence[Record]) -> None:
    ledger = Ledger({}, AnalyticsSettings())
    for record in records:
        try:
            count_record(ledger, record.value, record.headers)
        except NewerMajor:
            assert record.headers["ce_type"].startswith(b"sightline.")
    LedgerView(ledger)


@pytest.mark.parametrize("value", [None, PICTURE, b"\xc1"])
def test_a_record_that_the_log_could_not_unpack_is_dead_with_the_fault(value: bytes | None) -> None:
    record = Record(Partition(topics.RAW, 0), 7, 1, b"", value, {}, 0.0, "the batch at offset 5 cannot be read: 5 GB")
    death = decode_record(record, Router([], {}), ready_at=0.0, repeated=False).death
    assert death is not None
    assert (death.stage, death.reason, death.message) == ("codec", "unreadable_batch", record.fault)
