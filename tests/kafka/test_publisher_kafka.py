"""After a failed publish: records that are still on their way are not written twice, and none is stuck."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from deploy.local.cluster import VERSION, Cluster
from schemas import topics
from stores.folder import BlobFolder
from streams.clock import SystemClock
from streams.errors import Unavailable
from streams.kafka.aiokafka_internals.producer import transaction_manager
from streams.kafka.transport import KafkaTransport
from streams.sources.ingest import ingest
from streams.sources.ingest_counts import Progress
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Partition, TopicSpec
from tests.contract.transport_suite import values
from tests.kafka.conftest import own_broker
from tests.support.deployment import declared, until
from tests.unit.streams.sources.test_ingest import Listed, picture


async def test_what_was_handed_over_while_the_broker_was_away_is_not_handed_over_again(tmp_path: Path) -> None:
    """A few records, which share batches with others, and many, which are batches of their own."""
    few, many = values("t", "a", range(5)), values("u", "a", range(100))
    with own_broker(tmp_path, VERSION) as cluster:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?request_seconds=1")
        await transport.open()
        await transport.create([TopicSpec("t", 1), TopicSpec("u", 1)])
        attempts = {topic: asyncio.Semaphore(0) for topic in ("t", "u")}

        async def until_acknowledged(records: list[NewRecord]) -> None:
            while True:
                try:
                    return await transport.publish(records)
                except Unavailable:
                    attempts[records[0].topic].release()

        await transport.publish(values("t", "a", [0]) + values("u", "a", [0]))
        cluster.nodes[0].kill()
        publishing = asyncio.gather(until_acknowledged(few), until_acknowledged(many))
        for _ in range(3):
            await asyncio.gather(*(attempt.acquire() for attempt in attempts.values()))
        await asyncio.to_thread(cluster.start)
        await asyncio.wait_for(publishing, 60)
        for topic, sent in (("t", few), ("u", many)):
            written = await transport.read(Partition(topic, 0), 1, 1000)
            assert [record.value for record in written] == [record.value for record in sent]
        await transport.close()


def pictures(topic: str, count: int) -> list[NewRecord]:
    """Of one feed, and so of one partition: a batch holds two of them."""
    content = bytes(400 << 10)
    return [NewRecord(topic, b"a", b"%d:%b" % (number, content), {}) for number in range(count)]


async def test_what_one_batch_cannot_hold_is_not_handed_over_again_either(tmp_path: Path) -> None:
    """While the cluster is away a producer takes one batch of a partition; the rest is left to the next attempts."""
    sent = {"t": pictures("t", 7), "u": pictures("u", 12)}
    with own_broker(tmp_path, VERSION) as cluster:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?request_seconds=1")
        await transport.open()
        await transport.create([TopicSpec("t", 1), TopicSpec("u", 1)])
        failures = dict.fromkeys(sent, 0)

        async def until_acknowledged(topic: str) -> None:
            while True:
                try:
                    return await transport.publish(sent[topic])
                except Unavailable:
                    failures[topic] += 1

        await transport.publish(values("t", "a", [0]) + values("u", "a", [0]))
        cluster.nodes[0].kill()
        publishing = asyncio.gather(*map(until_acknowledged, sent))
        await until(lambda: min(failures.values()) >= 3)
        await asyncio.to_thread(cluster.start)
        await asyncio.wait_for(publishing, 60)
        for topic, records in sent.items():
            written = await transport.read(Partition(topic, 0), 1, 1000)
            assert [record.value for record in written] == [record.value for record in records]
        await transport.close()


async def test_an_ingest_that_waits_for_the_broker_repeats_no_frame(tmp_path: Path) -> None:
    taken = [picture(number, 300 << 10) for number in range(60)]
    waits: list[str] = []
    with own_broker(tmp_path / "kafka", VERSION) as cluster:
        transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}?request_seconds=4")
        await transport.open()
        await transport.create(declared())
        blobs = BlobFolder(tmp_path / "blobs")
        source, began = Listed(taken), asyncio.Event()

        def report(progress: Progress) -> None:
            waits.extend([progress.waiting_for] if progress.waiting_for else [])
            if progress.accepted and not began.is_set():
                cluster.nodes[0].kill()
                began.set()

        ingesting = asyncio.create_task(
            ingest(
                source,
                transport=transport,
                blobs=blobs,
                tenant="default",
                feed="lobby",
                clock=SystemClock(),
                progress=report,
            )
        )
        await until(lambda: len(waits) >= 3 or ingesting.done())
        await asyncio.to_thread(cluster.start)
        summary = await asyncio.wait_for(ingesting, 90)
        written = [record async for record in read_topic(transport, topics.RAW)]
        assert summary.accepted == len(taken)
        assert len(written) == len(taken), "nothing is written twice"
        await blobs.close()
        await transport.close()


async def test_after_a_fatal_error_new_producers_write_what_the_old_ones_could_not(cluster: Cluster) -> None:
    """The broker sees a gap in the producer's sequence numbers, and refuses everything after it."""
    transport = KafkaTransport.from_url(f"kafka://{cluster.bootstrap}")
    await transport.open()
    await transport.create([TopicSpec("gap", 1)])
    await transport.publish(values("gap", "a", range(5)))
    (broken,) = transport._publisher._producers.values()
    transaction_manager(broken).increment_sequence_number(TopicPartition("gap", 0), 1)
    records = values("gap", "a", range(5, 20))
    with pytest.raises(Unavailable):
        await transport.publish(records)
    await transport.publish(records)
    written = await transport.read(Partition("gap", 0), 0, 1000)
    assert [record.value for record in written] == [b"%d" % number for number in range(20)]
    await transport.close()
