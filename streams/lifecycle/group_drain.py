"""Finishes what a consumer group has not, as a member of it: each record is converted, written, and committed.

At least once: a run that is interrupted goes on behind the last commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from streams.errors import Gap, GroupInUse
from streams.transport import Consumer, NewRecord, Partition, Position, Record, Transport

Convert = Callable[[Sequence[Record]], Awaitable[Sequence[NewRecord]]]
"""What is written for records of one partition; None of it may be written twice with harm."""
POLL_RECORDS, POLL_SECONDS = 64, 0.5
QUIET_SECONDS = 60.0
"""Records that are there come within a rebalance; after this time another member has them."""


async def drain(transport: Transport, group: str, topics: Sequence[str], convert: Convert) -> int:
    """Finish everything on `topics`; the number of records. Records that the log has lost are passed over.

    Raises GroupInUse where another member keeps records to itself; Unavailable, LogFull, Fenced: run it again.
    """
    finished = 0
    while True:
        consumer = await transport.consumer(group, topics, _Listener())
        try:
            finished += await _drain(transport, consumer, group, topics, convert)
        except Gap:
            await _pass_over_lost(transport, consumer)
        else:
            return finished
        finally:
            await consumer.close()


async def _drain(transport: Transport, consumer: Consumer, group: str, topics: Sequence[str], convert: Convert) -> int:
    finished, clock = 0, asyncio.get_running_loop().time
    last = clock()
    while True:
        records = await consumer.poll(POLL_RECORDS, POLL_SECONDS)
        for partition, batch in _by_partition(records).items():
            await _finish(transport, consumer, partition, batch, await convert(batch))
        if records:
            finished, last = finished + len(records), clock()
        elif not any((await transport.group_lag(group, topics)).values()):
            return finished
        elif clock() - last > QUIET_SECONDS:
            raise GroupInUse(f"group {group} has records that do not come: another member has them; stop it first")


async def _finish(
    transport: Transport,
    consumer: Consumer,
    partition: Partition,
    batch: Sequence[Record],
    outgoing: Sequence[NewRecord],
) -> None:
    positions, epochs = {partition: Position(batch[-1].offset + 1)}, {partition: batch[-1].epoch}
    if transport.atomic:
        await consumer.publish_and_commit(outgoing, positions, epochs)
        return
    if outgoing:
        await transport.publish(outgoing)
    await consumer.commit(positions, epochs)


async def _pass_over_lost(transport: Transport, consumer: Consumer) -> None:
    """Commit the start of each partition in which the group's position is not in the log: of a log that was replaced,
    everything is to be done."""
    positions = {}
    for partition in consumer.assignment():
        first, end = (await transport.ends(partition.topic))[partition]
        committed = await consumer.committed(partition)
        if committed is not None and not first <= committed.next_offset <= end:
            positions[partition] = Position(first)
    await consumer.commit(positions, consumer.assignment())


def _by_partition(records: Sequence[Record]) -> dict[Partition, list[Record]]:
    batches: dict[Partition, list[Record]] = {}
    for record in records:
        batches.setdefault(record.partition, []).append(record)
    return batches


class _Listener:
    """Everything that was polled is committed before the next poll: there is nothing to drain."""

    async def assigned(self, partitions: Mapping[Partition, int]) -> None: ...

    async def revoked(self, partitions: Sequence[Partition]) -> None: ...
