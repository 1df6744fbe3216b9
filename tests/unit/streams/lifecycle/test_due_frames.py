"""Which blobs and records of frames that are to be erased the topics name, and which blobs other frames share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from schemas import cloudevents, codec, topics
from schemas.cloudevents import ENRICHED_TYPE, RAW_TYPE, frame_headers
from schemas.events import Deletion, FrameEvent
from stores.blobs import THUMBNAIL
from streams.lifecycle.citations import may_concern
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.lifecycle.due_frames import DueFrames
from streams.metrics import Metrics
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, Partition, Record, TopicSpec
from streams.worker.instruments import worker_instruments
from streams.worker.settings import WorkerSettings
from tests.support.counting_transport import CountingTransport
from tests.support.events import frame_event

PICTURE, OTHER = b"picture", b"another picture"


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[CountingTransport]:
    transport = CountingTransport(tmp_path / "log.sqlite")
    await transport.open()
    await transport.create([TopicSpec(topic, 1) for topic in (topics.RAW, topics.ENRICHED, topics.DELETIONS)])
    yield transport
    await transport.close()


def event(name: str, picture: bytes = PICTURE) -> FrameEvent:
    return frame_event(name, picture, inline=False)


def enriched(event: FrameEvent) -> NewRecord:
    headers = frame_headers(event, ENRICHED_TYPE, content_type=cloudevents.JSON)
    return NewRecord(topics.ENRICHED, b"k", codec.encode_frame(event, as_json=True), headers)


async def accept(transport: SqliteTransport, *events: FrameEvent) -> None:
    records = [NewRecord(topics.RAW, b"k", codec.encode_frame(each), frame_headers(each, RAW_TYPE)) for each in events]
    await transport.publish(records)


async def due(transport: SqliteTransport, *events: FrameEvent, are_named: bool = True) -> DueFrames:
    """They are deleted; `are_named`: the deletion names their pictures."""
    requested = [
        Deletion(
            frame=each.id,
            tenant=each.tenant,
            feed=each.feed,
            requested=each.ingested,
            uris=(each.image.uri,) if are_named else (),
        )
        for each in events
    ]
    await publish_deletions(transport, requested)
    deletions = Deletions(transport)
    await deletions.catch_up()
    retry = worker_instruments(WorkerSettings(model_set="test"), Metrics(CollectorRegistry())).retry
    return DueFrames({each.frame: each for each in requested}, deletions, transport, retry)


async def test_the_topics_are_read_once_where_the_deletions_name_the_pictures(transport: CountingTransport) -> None:
    first, second = event("first"), event("second")
    await accept(transport, first, event("other", OTHER), second)
    found = await due(transport, first)
    transport.records_read = 0
    await found.read()
    assert transport.records_read == 3
    assert found.blobs == {first.id: {first.image.uri, first.image.uri + THUMBNAIL}}
    assert found.places == {first.id: {(Partition(topics.RAW, 0), 0)}}
    assert found.shared == found.blobs[first.id]


async def test_a_picture_that_only_records_name_is_shared_with_an_earlier_one(transport: CountingTransport) -> None:
    earlier, meant = event("earlier"), event("meant")
    await accept(transport, earlier, event("other", OTHER), meant)
    found = await due(transport, meant, are_named=False)
    await found.read()
    assert found.shared == found.blobs[meant.id] == {meant.image.uri, meant.image.uri + THUMBNAIL}


async def test_a_picture_that_another_frame_cites_meanwhile_is_shared(transport: CountingTransport) -> None:
    meant = event("meant")
    await accept(transport, meant)
    found = await due(transport, meant)
    await found.read()
    assert not found.shared
    await transport.publish([enriched(event("later"))])
    transport.records_read = 0
    await found.read()
    assert transport.records_read == 1
    assert found.shared == found.blobs[meant.id]


async def test_a_picture_of_deleted_frames_alone_is_not_shared(transport: CountingTransport) -> None:
    both = event("first"), event("second")
    await accept(transport, *both)
    found = await due(transport, *both)
    await found.read()
    assert not found.shared
    assert len(found.places) == 2


@pytest.mark.parametrize("damage", [b"", b"no event", b"{"])
async def test_only_events_that_can_be_read_are_passed_over(transport: CountingTransport, damage: bytes) -> None:
    each = event("one")
    await transport.publish([enriched(each)])
    (record,) = await transport.read(Partition(topics.ENRICHED, 0), 0, 1)
    assert not may_concern(record, {"another"}, {"blob:another"})
    assert may_concern(record, {each.id}, ())
    assert may_concern(record, (), {each.image.uri})
    damaged = Record(record.partition, 0, -1, b"k", damage, record.headers, record.timestamp)
    assert may_concern(damaged, (), ())
