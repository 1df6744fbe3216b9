"""A run of adjacent stages in one worker: a batch goes through all of them with its pixels decoded once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from processors.stage import AnyStage, StatefulStage
from streams.clock import Clock
from streams.metrics import Metrics
from streams.plan import StageShape
from streams.retry import Retry
from streams.transport import Partition
from streams.worker.in_flight import InFlightFrame
from streams.worker.lanes import DEPTH, Lanes
from streams.worker.route import Mode, Router
from streams.worker.shedding import shed
from streams.worker.stage_policy import StagePolicy
from streams.worker.stage_state import StageState
from streams.worker.step import Step


class Segment:
    """Several batches may be inside at once, numbered in the order they came; `plan_stages` is the whole plan's."""

    def __init__(
        self,
        stages: Sequence[AnyStage],
        plan_stages: Mapping[str, StageShape],
        *,
        lanes: Lanes,
        retry: Retry,
        clock: Clock,
        metrics: Metrics,
        worker: str,
        is_current: Callable[[Partition, int], bool],
        shed_first: Sequence[str] = (),
    ) -> None:
        self.router = Router(stages, plan_stages)
        self._clock, self._shed_first = clock, frozenset(shed_first)
        self._steps = [
            Step(
                stage,
                place,
                lanes=lanes,
                policy=StagePolicy(stage.name, retry, metrics),
                memory=_memory(stage, is_current),
                clock=clock,
                metrics=metrics,
                worker=worker,
            )
            for place, stage in enumerate(stages)
        ]
        self._opened: list[Step] = []

    def depth(self, device: str) -> int:
        """How many batches to lead through at a time: two, so that one is decoded while the other is on the GPU. On a
        CPU, which both would share, one: two would take turns stage by stage, and both be late."""
        return 1 if device == "cpu" and any(step.stage.lane == "gpu" for step in self._steps) else DEPTH

    async def open(self, device: str) -> None:
        """Open the stages one after the other; what was opened is closed by `close` even when a later one fails."""
        for step in self._steps:
            self._opened.append(step)
            await step.open(device)

    async def run(self, number: int, flights: Sequence[InFlightFrame]) -> None:
        """Lead a batch through; dead frames stay in it, with their reason. Raises StageBroken."""
        self._shed(flights)
        for step in self._steps:
            await step.run(number, flights)
        for flight in flights:
            flight.frame.pixels = None

    def _shed(self, flights: Sequence[InFlightFrame]) -> None:
        """Frames that are too old take another way: stages behind which nothing remains to do do not run again."""
        now = self._clock.now()
        for flight in flights:
            if flight.frame.max_age_seconds > 0 and flight.death is None:
                modes = zip(self._steps, flight.route.modes, strict=True)
                to_come = [step.stage.name for step, mode in modes if mode is Mode.RUN]
                if shed(flight.frame, to_come, self._shed_first, now):
                    flight.route = self.router.route(flight.frame)

    def leave(self, number: int) -> None:
        """The batch is through or has failed: later ones need not wait for it."""
        for step in self._steps:
            step.leave(number)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop the memory of feeds whose partitions went to somebody else."""
        for step in self._steps:
            if step.memory is not None:
                step.memory.drop(partitions)

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()


def _memory(stage: AnyStage, is_current: Callable[[Partition, int], bool]) -> StageState | None:
    return StageState(stage, is_current) if isinstance(stage, StatefulStage) else None
