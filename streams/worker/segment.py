"""A run of adjacent stages in one worker: a batch goes through all of them with its pixels decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from processors.stage import AnyStage, traits
from stores.index import CollectionSpec
from streams.lifecycle.storage_upkeep import StorageSpec
from streams.plan import Plan, StageShape, shapes
from streams.worker.in_flight import InFlightFrame
from streams.worker.instruments import Instruments
from streams.worker.lanes import DEPTH, Lanes
from streams.worker.route import Mode, Router
from streams.worker.shedding import shed
from streams.worker.stage_policy import StagePolicy
from streams.worker.stage_state import StageStates
from streams.worker.step import Step


@dataclass(frozen=True, slots=True)
class SegmentSpec:
    """Which part of the plan a worker does.

    `stages` are the segment's, built and in order; `plan_stages` are the shapes (classes will do) of the whole plan's,
    by name, where they differ. `collections` are those that the worker makes sure of at start, by alias.
    """

    plan: Plan
    number: int
    stages: Sequence[AnyStage]
    plan_stages: Mapping[str, StageShape] = field(default_factory=dict)
    collections: Mapping[str, CollectionSpec] = field(default_factory=dict)
    storage: StorageSpec | None = None
    """What retention keeps; None: everything, and no one counts it."""

    @property
    def shapes(self) -> Mapping[str, StageShape]:
        """Of every stage of the plan, as far as they are known here."""
        return self.plan_stages or shapes(self.stages)

    @property
    def topic_in(self) -> str:
        return self.plan.topic_into(self.number)

    @property
    def topic_out(self) -> str:
        return self.plan.topic_out_of(self.number)

    @property
    def is_last(self) -> bool:
        return self.plan.is_last(self.number)


class Segment:
    """Several batches may be inside at once, numbered in the order they came. `worker` stands in every trace."""

    def __init__(
        self,
        spec: SegmentSpec,
        lanes: Lanes,
        states: StageStates,
        shed_first: Sequence[str] | None,
        worker: str,
        instruments: Instruments,
    ) -> None:
        self.router = Router(spec.stages, spec.shapes)
        self._clock = instruments.clock
        self._shed_first = _shed_first(spec) if shed_first is None else frozenset(shed_first)
        self._steps = [
            Step(
                stage,
                place,
                lanes,
                StagePolicy(stage.name, instruments.retry, instruments.metrics),
                states.of(stage),
                worker,
                instruments,
            )
            for place, stage in enumerate(spec.stages)
        ]
        self._opened: list[Step] = []

    def depth(self, device: str) -> int:
        """How many batches may compute at a time.

        Two, so that one is decoded while the other is on the GPU. One on a CPU, which both would share: two would take
        turns stage by stage, and both be late.
        """
        return 1 if device == "cpu" and any(step.stage.lane == "gpu" for step in self._steps) else DEPTH

    async def open(self, device: str) -> None:
        """Open the stages one after the other; `close` closes what was opened, also when a later one fails."""
        for step in self._steps:
            self._opened.append(step)
            await step.open(device)

    async def run(self, number: int, frames: Sequence[InFlightFrame]) -> None:
        """Lead a batch through; dead frames stay in it, with their reason. Raises StageBroken."""
        self._shed(frames)
        for step in self._steps:
            await step.run(number, frames)
        for inflight in frames:
            inflight.frame.pixels = None

    def _shed(self, frames: Sequence[InFlightFrame]) -> None:
        """Frames that are too old get another route: a stage does not run again for a later one that is skipped."""
        now = self._clock.now()
        for inflight in frames:
            if inflight.frame.max_age_seconds > 0 and inflight.death is None:
                modes = zip(self._steps, inflight.route.modes, strict=True)
                remaining = [step.stage.name for step, mode in modes if mode is Mode.RUN]
                if shed(inflight.frame, remaining, self._shed_first, now):
                    inflight.route = self.router.route(inflight.frame)

    def leave(self, number: int) -> None:
        """The batch is through or has failed: later ones need not wait for it."""
        for step in self._steps:
            step.leave(number)

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()


def _shed_first(spec: SegmentSpec) -> frozenset[str]:
    """The stages of the plan that declare it."""
    return frozenset(name for name, stage in spec.shapes.items() if traits(stage).shed_first)
