"""A worker on a broker in a process of its own, with faults inside its transactions. It stops on SIGTERM."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from streams.kafka.membership import Membership
from streams.kafka.partition_batch import PartitionBatch
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import Positions, Transactions
from streams.kafka.transport import KafkaTransport
from tests.support.deployment import INDEX_IDLE_SECONDS, QUICK, Deployment
from tests.support.fault_stages import Fate, Vectors

SETTINGS = msgspec.structs.replace(QUICK, batch_frames=8, commit_seconds=0.05, drain_seconds=5.0, isolate_after=1000)
"""Many commits. No frame causes the kills, so no poison frame is looked for."""

FaultPoint: TypeAlias = Literal["before", "inside", "after"]
"""Before anything of a transaction is written, when all is written and not committed, or when it is committed."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, "pytest"])


def arm_fault(folder: Path, point: FaultPoint, how: signal.Signals) -> None:
    """The first worker at this point takes the fault, leaving a file `taken-by-PID`, and sends itself the signal."""
    (folder / "fault").write_text(str(int(how)))
    (folder / "fault").rename(folder / f"fault-{point}")


class Faulty(Transactions):
    folder: Path

    async def _put(
        self,
        producer: AIOKafkaProducer,
        batches: Sequence[PartitionBatch],
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
    ) -> None:
        self._maybe_fail("before")
        await super()._put(producer, batches, offsets)

    async def _end(self, producer: AIOKafkaProducer) -> None:
        self._maybe_fail("inside")
        await super()._end(producer)
        self._maybe_fail("after")

    def _maybe_fail(self, point: FaultPoint) -> None:
        fault = self.folder / f"fault-{point}"
        try:
            how = int(fault.read_text())
            fault.rename(self.folder / f"taken-by-{os.getpid()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), how)


class FaultyTransport(KafkaTransport):
    folder: Path

    def transactions(self, group: str, membership: Membership, positions: Positions) -> Transactions:
        faulty = Faulty(self.settings, group, membership, positions)
        faulty.folder = self.folder
        return faulty


@asynccontextmanager
async def deployed(url: str, folder: Path, index: Path) -> AsyncIterator[Deployment]:
    """The broker at `url`, an index that several processes share, blobs in `folder`."""
    transport = FaultyTransport(KafkaSettings.from_url(url))
    transport.folder = folder
    await transport.open()
    stores = EdgeIndex(index, EdgeSettings(idle_seconds=INDEX_IDLE_SECONDS)), BlobFolder(folder / "blobs")
    yield Deployment(folder, index, transport, *stores)  # type: ignore[arg-type]
    for store in reversed(stores):
        await store.close()
    await transport.close()


async def main(url: str, folder: Path, index: Path, ready: Callable[[], None]) -> None:
    async with deployed(url, folder, index) as here:
        worker = here.worker([Fate(), Vectors()], settings=SETTINGS)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        ready()
        await worker.run()


def run(url: str, folder: Path, index: Path, ready: Connection) -> None:
    """The whole process; sends on `ready` when the work begins."""
    asyncio.run(main(url, folder, index, lambda: ready.send("ready")))


def start(url: str, folder: Path, index: Path) -> BaseProcess:
    """Forked from a process that has everything imported; returns when it is ready."""
    ready, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=run, args=(url, folder, index, sender), daemon=True)
    process.start()
    sender.close()
    ready.recv()
    return process
