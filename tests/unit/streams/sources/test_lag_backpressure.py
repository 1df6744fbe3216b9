from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.topics import RAW
from streams.clock import ManualClock
from streams.sources.lag_backpressure import LagBackpressure
from streams.transport import NewRecord, Partition, Position
from tests.contract.source_suite import ingest_target

DEADLINE_SECONDS = 30.0


class Quiet:
    async def assigned(self, partitions: Mapping[Partition, int]) -> None:
        """No preparation."""

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """Nothing to drain."""


async def test_a_source_pauses_while_its_group_is_behind_and_resumes_at_half(tmp_path: Path) -> None:
    async with ingest_target(tmp_path) as target:
        clock = ManualClock()
        consumer = await target.log.consumer("workers", [RAW], Quiet())
        backpressure = LagBackpressure(target.log, {"workers": [RAW]}, 10, clock)
        await backpressure()
        await target.log.publish([NewRecord(RAW, b"one", b"x") for _ in range(12)])
        waiting = asyncio.create_task(backpressure())
        records = list[int]()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(records) < 12:
                polled = await consumer.poll(100, 0.05)
                records += [record.offset for record in polled]
            partition = polled[-1].partition

            async def committed(next_offset: int) -> None:
                epoch = consumer.assignment()[partition]
                await consumer.commit({partition: Position(next_offset)}, {partition: epoch})
                while not clock.sleepers and not waiting.done():
                    await asyncio.wait([waiting], timeout=0.002)
                clock.advance(1.0)
                await asyncio.wait([waiting], timeout=0.002)

            await committed(4)
            assert not waiting.done(), "a lag of eight is below the limit of ten, but above half of it"
            await committed(8)
            await waiting
        await consumer.close()
