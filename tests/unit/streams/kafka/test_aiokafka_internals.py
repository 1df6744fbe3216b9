"""What `streams/kafka/aiokafka_internals` relies on in aiokafka, each private member and behavior by its name.

When aiokafka moves, the tests that fail name what broke. No broker is needed: clients stay unconnected.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiokafka.record.default_records
import aiokafka.record.memory_records
import aiokafka.record.util
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata

from streams.errors import Fenced, PlanError
from streams.kafka.aiokafka_internals import coordinator, offset_fetch
from streams.kafka.aiokafka_internals.batches import BatchSettings, batch_settings, build, build_compiled
from streams.kafka.aiokafka_internals.client import METADATA_REQUESTS_PER_SECOND, limit_metadata_requests
from streams.kafka.aiokafka_internals.fetcher import RawPartitionRecords, count_ended_fetch, patch_consumer, raw_records
from streams.kafka.aiokafka_internals.producer import for_each_unawaited, transaction_manager
from streams.kafka.aiokafka_internals.version import CHECKED_RELEASES, check_release
from streams.kafka.compiled.wire import wire
from streams.transport import NewRecord

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "streams" / "kafka" / "aiokafka_internals"
NOWHERE = "127.0.0.1:1"
PARTITION = TopicPartition("t", 0)

RELIED_ON = {
    "AIOKafkaConsumer": ["_client", "_coordinator", "_fetcher", "_subscription"],
    "AIOKafkaClient": ["_metadata_update"],
    "SubscriptionState": ["_fetch_count"],
    "Fetcher": ["_proc_fetch_request"],
    "PartitionRecords": ["_records_iterator", "_consumer_record", "next_fetch_offset"],
    "GroupCoordinator": [
        "_commit_lock",
        "_do_commit_offsets",
        "_do_heartbeat",
        "ensure_coordinator_known",
        "generation",
        "request_rejoin",
        "reset_generation",
    ],
    "AIOKafkaAdminClient": ["_send_request", "find_coordinator"],
    "AIOKafkaProducer": ["_message_accumulator", "_txn_manager", "client"],
    "TransactionManager": ["increment_sequence_number", "transactional_id", "wait_for_transaction_end"],
    "MessageAccumulator": ["_batch_size", "_batches", "_compression_type", "_pending_batches"],
    "MessageBatch": ["_drain_waiter"],
    "BatchBuilder": ["_buffer", "_build", "_builder", "_closed", "_relative_offset", "_set_producer_state"],
    "fetcher": ["MemoryRecords", "PartitionRecords"],
    "memory_records": ["MemoryRecords"],
    "default_records": ["DefaultRecordBatch"],
    "util": ["calc_crc32c", "decode_varint"],
}
"""By class or module; the last three are what reads batches here."""

PRIVATE = {name for names in RELIED_ON.values() for name in names if name.startswith("_")}


class Unconnected(NamedTuple):
    consumer: AIOKafkaConsumer
    producer: AIOKafkaProducer
    admin: AIOKafkaAdminClient


@pytest.fixture
async def clients() -> AsyncIterator[Unconnected]:
    """A consumer with a fetcher and a coordinator, as `start` would give it, a producer and an admin client."""
    consumer = AIOKafkaConsumer(bootstrap_servers=NOWHERE, group_id="g")
    consumer._fetcher = Fetcher(consumer._client, consumer._subscription)
    consumer._coordinator = GroupCoordinator(consumer._client, consumer._subscription, group_id="g")
    producer = AIOKafkaProducer(bootstrap_servers=NOWHERE, transactional_id="x", max_batch_size=500)
    admin = AIOKafkaAdminClient(bootstrap_servers=NOWHERE)
    yield Unconnected(consumer, producer, admin)
    await admin.close()
    await producer.client.close()
    producer._closed = True
    await consumer.stop()


def instances(clients: Unconnected) -> dict[str, Any]:
    consumer, producer, admin = clients
    batch = BatchBuilder(1000, 0)
    return {
        "AIOKafkaConsumer": consumer,
        "AIOKafkaClient": consumer._client,
        "SubscriptionState": consumer._subscription,
        "Fetcher": consumer._fetcher,
        "PartitionRecords": partition_records(PartitionRecords, b""),
        "GroupCoordinator": consumer._coordinator,
        "AIOKafkaAdminClient": admin,
        "AIOKafkaProducer": producer,
        "TransactionManager": producer._txn_manager,
        "MessageAccumulator": producer._message_accumulator,
        "MessageBatch": MessageBatch(PARTITION, batch, 1, 1),
        "BatchBuilder": batch,
        "fetcher": aiokafka.consumer.fetcher,
        "memory_records": aiokafka.record.memory_records,
        "default_records": aiokafka.record.default_records,
        "util": aiokafka.record.util,
    }


def partition_records(kind: type, data: bytes) -> Any:
    return kind(PARTITION, MemoryRecords(data), [], 0, None, None, True, READ_COMMITTED)  # noqa: FBT003 - its order


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in RELIED_ON.items() for name in names])
async def test_aiokafka_has(clients: Unconnected, owner: str, name: str) -> None:
    assert hasattr(instances(clients)[owner], name), f"aiokafka's {owner} has no {name} any more"


# -- the one place ---------------------------------------------------------------------------------------------


def private_reads(path: Path) -> Iterator[str]:
    """Underscore attributes that a module reads of anything but `self`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in ("self", "cls"):
                yield node.attr


def test_every_private_member_that_the_folder_reads_is_listed_here() -> None:
    assert {name for path in FOLDER.glob("*.py") for name in private_reads(path)} <= PRIVATE


def test_no_other_module_reads_a_private_member_of_aiokafka() -> None:
    elsewhere = [path for name in ("streams", "sightline", "bench", "tests") for path in (ROOT / name).rglob("*.py")]
    assert not {
        f"{path.relative_to(ROOT)}: {name}"
        for path in elsewhere
        if path.parent != FOLDER and path != Path(__file__) and "kafka" in path.read_text()
        for name in private_reads(path)
        if name in PRIVATE
    }


def test_only_checked_releases_are_installed_and_allowed() -> None:
    check_release()
    with pytest.raises(PlanError, match=r"aiokafka 0\.99\.1 is installed.*install aiokafka=="):
        check_release("0.99.1")
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (requirement,) = (one for one in dependencies if one.startswith("aiokafka"))
    major, minor = CHECKED_RELEASES[-1].split(".")
    assert requirement == f"aiokafka>={CHECKED_RELEASES[0]},<{major}.{int(minor) + 1}"


# -- consumers -------------------------------------------------------------------------------------------------


async def test_metadata_requests_go_through_the_client_s_attribute_and_are_limited(clients: Unconnected) -> None:
    client, sent = clients.consumer._client, 0

    async def update(*arguments: object) -> bool:
        nonlocal sent
        sent += 1
        return True

    async def request_again_and_again() -> None:
        while True:
            await client.fetch_all_metadata()

    client._metadata_update = update
    limit_metadata_requests(client)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(request_again_and_again(), 0.1)
    assert sent == METADATA_REQUESTS_PER_SECOND
    assert "_metadata_update" in AIOKafkaClient._md_synchronizer.__code__.co_names


async def cancelled_fetch(consumer: AIOKafkaConsumer) -> bool:
    """The result of a fetch that is cancelled while it waits for its next attempt, the node being unknown."""
    request = FetchRequest(100, 1, 1, READ_COMMITTED, [("t", [(0, 0, 1)])], rack_id="")
    fetching = asyncio.create_task(consumer._fetcher._proc_fetch_request(None, 0, request))
    await asyncio.wait({fetching}, timeout=0.02)
    fetching.cancel()
    return bool(await fetching)


async def test_a_cancelled_fetch_raises_in_aiokafka_and_ends_quietly_when_patched(clients: Unconnected) -> None:
    with pytest.raises(asyncio.CancelledError):
        await cancelled_fetch(clients.consumer)
    for classes in (None, raw_records(compiled=True)):
        patch_consumer(clients.consumer, classes)
        assert await cancelled_fetch(clients.consumer) is False


def test_the_fetcher_s_method_runs_with_other_classes_under_the_same_names() -> None:
    code = Fetcher._proc_fetch_request.__code__
    assert {"MemoryRecords", "PartitionRecords"} <= {*code.co_names}
    assert code.co_freevars == ()
    assert {"MemoryRecords", "PartitionRecords"} >= raw_records(compiled=True).keys()


@pytest.mark.parametrize("error", [NoOffsetForPartitionError(PARTITION), OffsetOutOfRangeError({PARTITION: 3})])
async def test_a_fetch_that_raises_is_not_counted_as_ended_by_aiokafka(clients: Unconnected, error: KafkaError) -> None:
    subscription = clients.consumer._subscription

    def fetch() -> None:
        with subscription.fetch_context():
            raise error

    with pytest.raises(type(error)):
        fetch()
    assert subscription.fetcher_idle_time == 0, "it counts as under way"
    count_ended_fetch(clients.consumer, None)
    assert subscription.fetcher_idle_time == 0
    count_ended_fetch(clients.consumer, error)
    assert subscription.fetcher_idle_time > 0


async def test_a_commit_is_not_sent_in_another_generation(clients: Unconnected) -> None:
    consumer = clients.consumer
    assert coordinator.generation(consumer) < 0
    with pytest.raises(Fenced):
        await coordinator.commit_once(consumer, {PARTITION: OffsetAndMetadata(1, "")}, 3)
    coordinator.coordinator(consumer).generation = 3
    with pytest.raises(KafkaError):  # it is sent, and no coordinator is known
        await coordinator.commit_once(consumer, {PARTITION: OffsetAndMetadata(1, "")}, 3)
    assert not await coordinator.heartbeat(consumer)
    coordinator.request_rejoin(consumer)
    coordinator.coordinator(consumer).reset_generation()
    assert coordinator.generation(consumer) < 0


def test_signatures_are_those_that_are_called_or_overridden() -> None:
    def parameters(method: Any) -> list[str]:
        return list(inspect.signature(method).parameters)[1:]

    assert parameters(GroupCoordinator._do_commit_offsets) == ["assignment", "offsets"]
    assert parameters(PartitionRecords._consumer_record) == ["tp", "record"]
    assert parameters(BatchBuilder._set_producer_state) == ["producer_id", "producer_epoch", "base_sequence"]
    assert parameters(AIOKafkaAdminClient._send_request) == ["request", "node_id"]
    assert parameters(Fetcher._proc_fetch_request) == ["assignment", "node_id", "request"]


# -- producers -------------------------------------------------------------------------------------------------

RECORDS = [NewRecord("t", b"k%d" % number, b"v" * number, {"n": b"%d" % number}) for number in range(40)]


async def test_batch_settings_are_the_producer_s(clients: Unconnected) -> None:
    assert batch_settings(clients.producer) == BatchSettings(500, 0, transactional=True)


@pytest.mark.parametrize("build_one", [build, *([build_compiled] if wire else [])])
async def test_batches_hold_the_records_and_the_producer_s_state(build_one: Any) -> None:
    first, data = 0, b""
    while first < len(RECORDS):
        batch, count, largest_bytes = build_one(RECORDS, first, BatchSettings(500, 0, transactional=True))
        assert 0 < count < len(RECORDS)
        assert largest_bytes > len(RECORDS[first + count - 1].value or b"")
        queued = MessageBatch(PARTITION, batch, 1, 1)
        assert (queued.record_count, batch.record_count()) == (count, count)
        queued.set_producer_state(producer_id=17, producer_epoch=3, base_sequence=21 + first)
        content = bytes(queued.get_data_buffer())
        assert batch.closed()
        assert batch.size() == len(content) <= 500
        assert content == bytes(queued.get_data_buffer()), "sent again it is the same"
        data += first.to_bytes(8, "big") + content[8:]  # the broker sets the base offset
        first += count
    header = MemoryRecords(data).next_batch()
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (17, 3, 21)
    assert header.is_transactional
    read = list(partition_records(RawPartitionRecords, data))
    assert [(one.offset, one.key, one.value, dict(one.headers)) for one in read] == [
        (offset, record.key, record.value, record.headers) for offset, record in enumerate(RECORDS)
    ]


async def test_errors_that_nothing_awaits_are_found(clients: Unconnected) -> None:
    producer, accumulator = clients.producer, clients.producer._message_accumulator
    transactions = transaction_manager(producer)
    transactions.set_pid_and_epoch(1, 0)
    transactions.begin_transaction()
    acknowledged = await accumulator.add_message(PARTITION, b"k", b"v", 1)
    waiting = producer._txn_manager.wait_for_transaction_end()
    accumulator.fail_all(KafkaError("fatal"))
    found: list[Any] = []
    for_each_unawaited(producer, found.append)
    assert [str(future.exception()) for future in (*found, acknowledged)] == ["KafkaError: fatal"] * 2
    waiting.set_exception(KafkaError("fatal"))
    for_each_unawaited(producer, found.append)
    assert waiting in found
    assert all(future.exception() for future in found)


# -- the request of ours ---------------------------------------------------------------------------------------


def test_the_request_for_stable_offsets_is_written_and_its_answer_read_as_the_protocol_says() -> None:
    request = offset_fetch.StableOffsetsRequest("g", {"t": [0, 1]}).prepare({offset_fetch.OFFSET_FETCH: (0, 9)})
    assert request.encode() == b"\x02g\x02\x02t\x03\0\0\0\0\0\0\0\1\0\1\0"
    row = b"\0\0\0\1" + b"\0\0\0\0\0\0\0\x2a" + b"\xff\xff\xff\xff" + b"\x0battempts=2" + b"\0\0" + b"\0"
    answer = offset_fetch.StableOffsetsResponse.decode(b"\0\0\0\0" + b"\x02\x02t\x02" + row + b"\0" + b"\0\x0e" + b"\0")
    assert answer.error == 14
    assert [(topic, list(rows)) for topic, rows, _ in answer.topics] == [("t", [(1, 42, -1, "attempts=2", 0, {})])]
