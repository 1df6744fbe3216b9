"""What a schedule is made of: each action is a small value that says what is done to a rig."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.nemesis.rig import Rig
from tests.nemesis.workload import LARGE, Mix
from tests.support.deployment import PICTURE


class Action(Protocol):
    async def run(self, rig: Rig) -> None: ...


@dataclass(frozen=True)
class Produce:
    """Publish frames; all are acknowledged before the next action."""

    frames: int
    mix: Mix = field(default_factory=dict)
    large: bool = False

    async def run(self, rig: Rig) -> None:
        rig.workload.mix, rig.workload.content = self.mix, LARGE if self.large else PICTURE
        await rig.workload.accept(self.frames)


@dataclass(frozen=True)
class Stream:
    """Publish frames at this rate from now until the schedule ends."""

    frames_per_second: float
    mix: Mix = field(default_factory=lambda: {"invalid": 10})

    async def run(self, rig: Rig) -> None:
        rig.workload.mix = self.mix
        rig.workload.stream(self.frames_per_second)


@dataclass(frozen=True)
class WaitForProgress:
    """Return once this number of further records is committed."""

    records: int

    async def run(self, rig: Rig) -> None:
        before = -1
        while before < 0:
            before = await rig.committed()
        goal = before + self.records

        async def reached() -> bool:
            return await rig.committed() >= goal

        await rig.until(reached, f"{self.records} further records are committed")


@dataclass(frozen=True)
class Wait:
    """Leave the fault as it is for `seconds`: shortened in the short selection, but never below `at_least_seconds`."""

    seconds: float
    at_least_seconds: float = 1.0

    async def run(self, rig: Rig) -> None:
        await asyncio.sleep(max(self.at_least_seconds, self.seconds * rig.scale.seconds))


@dataclass(frozen=True)
class Repeat:
    """Run the actions `count` times, at most as often as the scale says; as often as the scale says without `count`."""

    actions: Sequence[Action]
    count: int | None = None

    async def run(self, rig: Rig) -> None:
        rounds = rig.scale.rounds
        for _ in range(rounds if self.count is None else min(self.count, rounds)):
            for action in self.actions:
                await action.run(rig)
