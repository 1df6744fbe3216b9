"""A member's assignment: epochs, draining before a rebalance, and commits that belong to the present one only.

Kafka's classic protocol takes every partition from every member at each rebalance. The group's generation is the
epoch: it grows with each, for all members.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from streams.errors import Fenced, Unavailable
from streams.kafka.failures import ENDED, translated
from streams.transport import Listener, Partition, Position

ATTEMPTS = "attempts="
"""How a position's attempts stand in the commit's metadata."""

RETRY_SECONDS = 0.1
"""Before a commit is sent again that the group's coordinator could not take just then."""

log = structlog.get_logger()


def from_aiokafka(place: TopicPartition) -> Partition:
    return Partition(place.topic, place.partition)


def to_aiokafka(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.index)


def position_from(committed: OffsetAndMetadata) -> Position:
    attempts = committed.metadata.removeprefix(ATTEMPTS)
    return Position(committed.offset, int(attempts) if attempts.isdigit() else 0)


def offsets_from(positions: Mapping[Partition, Position]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        to_aiokafka(partition): OffsetAndMetadata(position.next_offset, f"{ATTEMPTS}{position.attempts}")
        for partition, position in positions.items()
    }


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hears of rebalances from aiokafka, which logs and forgets what a listener raises: `failures` keeps it."""

    def __init__(self, consumer: AIOKafkaConsumer, listener: Listener, drain_seconds: float, request_seconds: float):
        self._consumer, self._listener = consumer, listener
        self._drain_seconds, self._request_seconds = drain_seconds, request_seconds
        self._committing = asyncio.Lock()
        self._handing_over = asyncio.Lock()
        self.epochs: dict[Partition, int] = {}
        self.unplaced: set[Partition] = set()
        """Held partitions of which it is not decided yet where reading starts."""
        self.leaving = False
        """Draining: no record is handed out any more."""
        self.failures: list[Exception] = []
        self.late_positions = 0
        self.drain_seconds_last = 0.0

    async def on_partitions_revoked(self, revoked: object) -> None:
        try:
            await self.hand_over()
        except Exception as error:
            self.failures.append(error)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Runs while no heartbeat is sent, so it asks the broker for nothing."""
        generation = self._generation()
        self.epochs = {from_aiokafka(place): generation for place in assigned}
        self.unplaced, self.leaving = set(self.epochs), False
        try:
            await self._listener.assigned(dict(self.epochs))
        except Exception as error:
            self.failures.append(error)

    async def hand_over(self) -> None:
        """Drain, commit, and only then void the epochs; if the group has already gone on, void them first."""
        async with self._handing_over:
            if not (partitions := list(self.epochs)):
                return
            self.leaving, begun = True, time.monotonic()
            try:
                if self._generation() < 0:
                    await self._invalidate_epochs()
                await self._drain(partitions)
            finally:
                await self._invalidate_epochs()
                self.drain_seconds_last = time.monotonic() - begun

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        """Raises Fenced when nothing was current, Unavailable."""
        async with self._committing:
            current = {
                partition: position
                for partition, position in positions.items()
                if partition in self.epochs and epochs.get(partition) == self.epochs[partition]
            }
            self.late_positions += len(positions) - len(current)
            if positions and not current:
                raise Fenced(f"{len(positions)} positions come from assignments that have ended")
            try:
                with translated():
                    await asyncio.wait_for(self._send(current), self._request_seconds)
            except Fenced:
                self.late_positions += len(current)
                raise

    def check(self, epochs: Mapping[Partition, int]) -> None:
        """Raises Fenced if one of these assignments has ended."""
        if late := [partition for partition, epoch in epochs.items() if self.epochs.get(partition) != epoch]:
            self.late_positions += len(late)
            raise Fenced(f"{len(late)} of {len(epochs)} assignments have ended")

    async def confirm(self, epochs: Mapping[Partition, int]) -> None:
        """Ask the group whether these assignments still hold. Raises Fenced, Unavailable.

        A group that is about to rebalance says yes: nobody else has them before this member has let go, or was thrown
        out, and then it says no.
        """
        self.check(epochs)
        with translated():
            async with asyncio.timeout(self._request_seconds):
                heard = await self._consumer._coordinator._do_heartbeat()
        if self._generation() < 0:
            self.late_positions += len(epochs)
            raise Fenced("the group has gone on without this member")
        self.check(epochs)
        if not heard:
            raise Unavailable("the group's coordinator does not answer")

    def rejoin(self) -> None:
        """Have everything assigned anew."""
        self._consumer._coordinator.request_rejoin()

    async def _send(self, positions: Mapping[Partition, Position]) -> None:
        """aiokafka's own commit takes the generation of the moment, at every attempt: none, after the member was thrown
        out. A broker takes a commit without one from anybody as soon as the group is empty, and positions go back.
        """
        coordinator, offsets = self._consumer._coordinator, offsets_from(positions)
        while positions:
            await coordinator.ensure_coordinator_known()
            async with coordinator._commit_lock:
                if {self._generation()} != {self.epochs[partition] for partition in positions}:
                    raise Fenced("the group has gone on without this member")
                try:
                    await asyncio.shield(coordinator._do_commit_offsets(None, offsets))
                    return
                except KafkaError as error:
                    if isinstance(error, ENDED) or not error.retriable:
                        raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _invalidate_epochs(self) -> None:
        """No commit of these epochs is under way or can begin after this: aiokafka would send it as a later one."""
        async with self._committing:
            self.epochs, self.unplaced = {}, set()

    async def _drain(self, partitions: Sequence[Partition]) -> None:
        try:
            async with asyncio.timeout(self._drain_seconds) as deadline:
                await self._listener.revoked(partitions)
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("drain_deadline_passed", partitions=len(partitions))

    def _generation(self) -> int:
        """-1 after the member has left or was thrown out. aiokafka does not publish it."""
        return int(self._consumer._coordinator.generation)
