"""A process that takes part in a log, to be killed: `python -m tests.contract.transport_member JOB URL ARGUMENTS`.

Every line on its standard output is something that the transport has confirmed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from itertools import count

from streams.errors import Fenced
from streams.transport import NewRecord, Partition, Position, Transport
from tests.support.transport_urls import connect


class Silent:
    """A listener with nothing to drain."""

    async def assigned(self, partitions: Mapping[Partition, int]) -> None: ...

    async def revoked(self, partitions: Sequence[Partition]) -> None: ...


async def hold(transport: Transport, group: str, topic: str) -> None:
    """Take records until killed, never commit; prints the partition and offset of each."""
    consumer = await transport.consumer(group, [topic], Silent())
    while True:
        for record in await consumer.poll(100, 1.0):
            print(record.partition.index, record.offset, flush=True)


async def produce(transport: Transport, topic: str, name: str, limit: str) -> None:
    """Publish numbered records in batches of seven, a few at once; prints each number once it is acknowledged."""

    async def publish(first: int) -> None:
        numbers = range(first, first + 7)
        await transport.publish([NewRecord(topic, name.encode(), b"%d" % number) for number in numbers])
        print(*numbers, sep="\n", flush=True)

    for first in count(0, 21):
        if first >= int(limit):
            return
        await asyncio.gather(*(publish(first + step) for step in (0, 7, 14)))


async def copy(transport: Transport, group: str, source: str, target: str) -> None:
    """Copy records from topic to topic, outputs and positions together; prints how many were finished."""
    consumer = await transport.consumer(group, [source], Silent())
    while True:
        records = await consumer.poll(10, 1.0)
        ends = {record.partition: Position(record.offset + 1) for record in records}
        epochs = {record.partition: record.epoch for record in records}
        outgoing = [NewRecord(target, record.key, record.value, record.headers) for record in records]
        try:
            await consumer.publish_and_commit(outgoing, ends, epochs)
        except Fenced:
            continue
        print(len(records), flush=True)


JOBS = {"hold": hold, "produce": produce, "copy": copy}


async def main(job: str, url: str, *arguments: str) -> None:
    transport = connect(url)
    await transport.open()
    print("open", flush=True)
    await JOBS[job](transport, *arguments)  # type: ignore[operator]
    await transport.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
