"""A member's assignment: epochs, draining before a rebalance, and commits that belong to the present assignment only.

Kafka's classic protocol takes every partition from every member at each rebalance. The group's generation is the
epoch: it grows with each rebalance, for all members.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from streams.clock import SystemClock
from streams.errors import Fenced, Unavailable
from streams.kafka.aiokafka_internals import coordinator
from streams.kafka.conversion import from_aiokafka, offsets_from
from streams.kafka.failures import ENDED, translated
from streams.retry import Backoff, retry
from streams.transport import Listener, Partition, Position

RETRY_SECONDS = 0.1
"""Pause before a commit is sent again that the group's coordinator could not take."""

log = structlog.get_logger()


class _CoordinatorBusyError(Exception):
    """The coordinator could not take a commit now; the same commit may succeed later."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows rebalances. aiokafka logs and drops what a listener raises: `failures` keeps it."""

    def __init__(self, consumer: AIOKafkaConsumer, listener: Listener, drain_seconds: float, request_seconds: float):
        self._consumer, self._listener = consumer, listener
        self._drain_seconds, self._request_seconds = drain_seconds, request_seconds
        self._committing = asyncio.Lock()
        self._handing_over = asyncio.Lock()
        self.epochs: dict[Partition, int] = {}
        self.unpositioned: set[Partition] = set()
        """Held partitions for which it is not decided yet where reading starts."""
        self.leaving = False
        """Draining: no record is handed out any more."""
        self.failures: list[Exception] = []
        self.late_positions = 0
        """Positions that were not committed because their assignment had ended."""

    async def on_partitions_revoked(self, revoked: object) -> None:
        try:
            await self.hand_over()
        except Exception as error:
            self.failures.append(error)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Runs while no heartbeat is sent, so it makes no request."""
        generation = self._generation()
        self.epochs = {from_aiokafka(partition): generation for partition in assigned}
        self.unpositioned, self.leaving = set(self.epochs), False
        try:
            await self._listener.assigned(dict(self.epochs))
        except Exception as error:
            self.failures.append(error)

    async def hand_over(self) -> None:
        """Drain, commit, and only then invalidate the epochs; first, if the group has already gone on."""
        async with self._handing_over:
            if not (partitions := list(self.epochs)):
                return
            self.leaving = True
            try:
                if self._generation() < 0:
                    await self._invalidate_epochs()
                await self._drain(partitions)
            finally:
                await self._invalidate_epochs()

    async def commit(self, positions: Mapping[Partition, Position], epochs: Mapping[Partition, int]) -> None:
        """Raises Fenced when none of the assignments is current, Unavailable."""
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
                    await asyncio.wait_for(self._commit(current), self._request_seconds)
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

        A group that is about to rebalance says yes: no other member gets the partitions before this one has handed
        them over, or was expelled, and then the group says no.
        """
        self.check(epochs)
        with translated():
            async with asyncio.timeout(self._request_seconds):
                accepted = await coordinator.heartbeat(self._consumer)
        if self._generation() < 0:
            self.late_positions += len(epochs)
            raise Fenced("the group has gone on without this member")
        self.check(epochs)
        if not accepted:
            raise Unavailable("the group's coordinator does not answer; try again")

    def rejoin(self) -> None:
        """Have all partitions assigned again, under new epochs."""
        coordinator.request_rejoin(self._consumer)

    async def _commit(self, positions: Mapping[Partition, Position]) -> None:
        if positions:
            (epoch,) = {self.epochs[partition] for partition in positions}
            attempt = partial(self._commit_once, positions, epoch)
            backoff = Backoff(SystemClock(), first_seconds=RETRY_SECONDS, most_seconds=RETRY_SECONDS)
            await retry(attempt, _CoordinatorBusyError, backoff)

    async def _commit_once(self, positions: Mapping[Partition, Position], epoch: int) -> None:
        await coordinator.find_coordinator(self._consumer)
        try:
            await coordinator.commit_once(self._consumer, offsets_from(positions), epoch)
        except KafkaError as error:
            if isinstance(error, ENDED) or not error.retriable:
                raise
            raise _CoordinatorBusyError from error

    async def _invalidate_epochs(self) -> None:
        """After this no commit of these epochs is under way or can begin: aiokafka would send it as a later one."""
        async with self._committing:
            self.epochs, self.unpositioned = {}, set()

    async def _drain(self, partitions: Sequence[Partition]) -> None:
        try:
            async with asyncio.timeout(self._drain_seconds) as deadline:
                await self._listener.revoked(partitions)
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("drain_deadline_passed", partitions=len(partitions))

    def _generation(self) -> int:
        return coordinator.generation(self._consumer)
