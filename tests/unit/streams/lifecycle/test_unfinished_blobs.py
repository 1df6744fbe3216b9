"""Which pictures the plan has still to read, while its groups go on, go back, and meet what they cannot read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import codec, topics
from schemas.cloudevents import RAW_TYPE, frame_headers
from streams.lifecycle.unfinished_blobs import UnfinishedBlobs
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, Position, TopicSpec
from tests.contract.transport_suite import RecordingListener
from tests.support.counting_transport import CountingTransport
from tests.support.events import frame_event

GROUP, P = "sightline.decode", Partition(topics.RAW, 0)


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[CountingTransport]:
    transport = CountingTransport(tmp_path / "log.sqlite")
    await transport.open()
    await transport.create([TopicSpec(topics.RAW, 1, finished_by=(GROUP,))])
    yield transport
    await transport.close()


async def accept(transport: SqliteTransport, numbers: range) -> list[str]:
    """The URIs of the frames' pictures."""
    events = [frame_event(str(number), str(number).encode(), inline=False) for number in numbers]
    records = [
        NewRecord(topics.RAW, b"k", codec.encode_frame(event), frame_headers(event, RAW_TYPE)) for event in events
    ]
    await transport.publish(records)
    return [event.image.uri for event in events]


async def finish(transport: SqliteTransport, next_offset: int) -> None:
    consumer = await transport.consumer(GROUP, [topics.RAW], RecordingListener())
    await consumer.poll(1, 1.0)
    await consumer.commit({P: Position(next_offset)}, consumer.assignment())
    await consumer.close()


async def test_pictures_are_unfinished_again_where_a_group_starts_over(transport: CountingTransport) -> None:
    unfinished = UnfinishedBlobs(transport, {GROUP: topics.RAW})
    uris = await accept(transport, range(10))
    await unfinished.update()
    assert all(uri in unfinished for uri in uris)
    await finish(transport, 10)
    await unfinished.update()
    assert not any(uri in unfinished for uri in uris)
    await transport.forget(GROUP)
    await unfinished.update()
    assert all(uri in unfinished for uri in uris)


async def test_each_record_is_read_once_also_behind_one_that_cites_nothing(transport: CountingTransport) -> None:
    await transport.publish([NewRecord(topics.RAW, b"k", b"no frame")])
    uris = await accept(transport, range(10))
    unfinished = UnfinishedBlobs(transport, {GROUP: topics.RAW})
    await unfinished.update()
    uris += await accept(transport, range(10, 15))
    await unfinished.update()
    assert transport.records_read == 16
    assert all(uri in unfinished for uri in uris)
    await finish(transport, 4)
    await unfinished.update()
    assert [uri in unfinished for uri in uris] == [False] * 3 + [True] * 12


async def test_what_came_and_was_finished_since_the_last_look_is_an_arrival(transport: CountingTransport) -> None:
    unfinished = UnfinishedBlobs(transport, {GROUP: topics.RAW})
    await accept(transport, range(3))
    await unfinished.update()
    again = await accept(transport, range(1, 3))
    await finish(transport, 5)
    arrived = await unfinished.arrivals()
    assert arrived.keys() == set(again)
    assert arrived[again[0]] == frame_event("1", b"1").id
    assert not any(uri in unfinished for uri in again)
    assert await unfinished.arrivals() == {}


async def test_what_a_live_member_of_another_group_has_to_read_is_unfinished(transport: CountingTransport) -> None:
    unfinished = UnfinishedBlobs(transport, {GROUP: topics.RAW})
    uris = await accept(transport, range(3))
    await finish(transport, 3)
    other = await transport.consumer("sightline-base.decode", [topics.RAW], RecordingListener())
    async with asyncio.timeout(60):
        while not await other.poll(1, 1.0):
            pass
    await unfinished.update()
    assert all(uri in unfinished for uri in uris)
    await other.close()
    await unfinished.update()
    assert not any(uri in unfinished for uri in uris)
