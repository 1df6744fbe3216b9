"""What other clients put on the topics of a real broker: no record stops a worker, and markers are no lag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from deploy.local.cluster import Cluster
from processors.stages.decode import Decode, DecodeSettings
from schemas import topics
from streams.kafka.unpacking import MAX_UNPACKED_BYTES
from streams.lifecycle.dead_letters import DeadLetters
from streams.transport import Position, Record
from tests.contract.transport_suite import RecordingListener
from tests.kafka.conftest import deployment, reader_query
from tests.support.deployment import PARTITIONS, Deployment, declared, running, until
from tests.support.kafka_batches import PACK, RawBatch, batch_with_name, compressed, with_checksum
from tests.support.picture_headers import picture_headers
from tests.support.pictures import encoded, scene

PICTURE = encoded(scene(1))
MICROSECONDS_AS_MILLISECONDS = 1_764_374_400_000_000
YEAR_ONE = -62_135_596_800_001
TIMESTAMPS = (MICROSECONDS_AS_MILLISECONDS, YEAR_ONE, -1, 0)
GROUP = "sightline.decode"


@pytest.fixture
async def here(cluster: Cluster, tmp_path: Path, delivery: str) -> AsyncIterator[Deployment]:
    url = f"kafka://{cluster.bootstrap}?session_seconds=6&delivery={delivery}&{reader_query(cluster)}"
    async with deployment(tmp_path, url, created=partial(create_with_producers_times, cluster)) as here:
        yield here


async def create_with_producers_times(cluster: Cluster) -> None:
    """`frames.raw` as somebody may have created it: with the timestamps of its producers, whatever they are."""
    (raw,) = (spec for spec in declared() if spec.name == topics.RAW)
    settings = {
        "retention.ms": "-1",
        "max.message.bytes": str(raw.max_record_bytes + topics.BATCH_OVERHEAD_BYTES),
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topics.RAW, PARTITIONS, 1, topic_configs=settings)])
    await admin.close()


def batch_at(timestamp: int, name: str, compression: int) -> bytearray:
    """A picture that can be read and a record that cannot."""
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    headers = list(picture_headers("/cams/yard", name, content_type="image/jpeg").items())
    batch.append(0, timestamp, None, PICTURE, headers)
    batch.append(1, timestamp, b"k", None, [("", b""), ("ce_id", None), ("ce_id", b"1"), ("x", b"v" * 100_000)])
    return compressed(bytes(batch.build()), compression)


def bomb() -> bytearray:
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for number in range(2):
        batch.append(number, 0, None, bytes(MAX_UNPACKED_BYTES), [])
    return compressed(bytes(batch.build()), 4)


async def send_raw(cluster: Cluster, topic: str) -> int:
    """Every kind of batch on every partition of the topic; returns how many records."""
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, max_request_size=8 << 20) as producer:
        number = 0
        for compression in PACK:
            batches = [batch_with_name(b"na\xefve", compression)]
            batches += [batch_at(time, f"{compression}.{time}", compression) for time in TIMESTAMPS]
            for batch in [*batches, bomb()] if compression == 4 else batches:
                content = with_checksum(batch)
                await (await producer.send_batch(RawBatch(content, 2), topic, partition=number // 2 % PARTITIONS))
                number += 2
    return number


async def send_transactions(cluster: Cluster, topic: str, *values: bytes | None) -> None:
    """One committed and one aborted transaction per value, on every partition."""
    producer = AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, transactional_id="another-service")
    async with producer:
        for value in values:
            async with producer.transaction():
                for partition in range(PARTITIONS):
                    await producer.send(topic, value, b"k", partition=partition)
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, b"k", partition=0)
            await producer.abort_transaction()


@pytest.mark.parametrize("delivery", ["at_least_once", "transactional"])
async def test_a_worker_and_every_reader_take_what_others_write(here: Deployment, cluster: Cluster) -> None:
    sent = await send_raw(cluster, topics.RAW)
    for topic in (topics.DEAD, topics.ENRICHED, topics.OBSERVED, topics.DELETIONS, topics.FEEDS):
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
            batch = RawBatch(with_checksum(batch_with_name(b"na\xefve", 1)), 2)
            await (await producer.send_batch(batch, topic, partition=0))
    await send_transactions(cluster, topics.RAW, PICTURE, None)
    async with running(here.worker([Decode(DecodeSettings())])) as task:
        await until(lambda: here.drained(group=GROUP), task)
        assert not task.done()
    findings = await here.findings()
    assert findings.kept, findings
    pictures = len(PACK) * len(TIMESTAMPS)
    assert (findings.accepted, findings.enriched) == (sent + 2 * PARTITIONS, pictures)
    letters = await DeadLetters(here.transport).choose()
    assert len(letters) == findings.accepted - pictures
    reasons = [entry.letter.reason for entry in letters]
    assert reasons.count("unreadable_batch") == 2
    assert reasons.count("missing_header") == PARTITIONS  # of the transactions, pictures without a content type
    seconds = here.metrics.registry.get_sample_value("sightline_latency_seconds_sum")
    assert seconds is not None
    assert seconds < 600.0 * findings.accepted


@pytest.mark.parametrize("delivery", ["at_least_once", "transactional"])
async def test_markers_are_no_lag(here: Deployment, cluster: Cluster) -> None:
    await send_transactions(cluster, topics.RAW, b"1", b"2", b"3")
    consumer = await here.transport.consumer("reader", [topics.RAW], RecordingListener())
    records: list[Record] = []
    async with asyncio.timeout(30):
        while len(records) < 3 * PARTITIONS:
            records += await consumer.poll(100, 1.0)
    positions = {record.partition: Position(record.offset + 1) for record in records}
    for partition, position in positions.items():
        await consumer.commit({partition: position}, consumer.assignment())
    assert not any((await here.transport.group_lag("reader", [topics.RAW])).values())
    assert not any((await consumer.lag()).values())
    await send_transactions(cluster, topics.RAW, b"4")
    assert all((await here.transport.group_lag("reader", [topics.RAW])).values())
    await consumer.close()
