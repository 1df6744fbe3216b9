"""After a failed publish: records that are still on their way are not written twice, and none is stuck."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from deploy.local.cluster import VERSION, Cluster
from streams.errors import Unavailable
from streams.kafka.aiokafka_internals.producer import transaction_manager
from streams.kafka.transport import KafkaTransport
from streams.transport import NewRecord, Partition, TopicSpec
from tests.contract.transport_suite import values
from tests.kafka.conftest import own_broker


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
