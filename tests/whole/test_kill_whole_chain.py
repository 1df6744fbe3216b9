"""kill -9 at random times, with the whole chain and its real models, through the command line.

`sightline work` and the index process are killed. A last `work --until-idle` finishes what is left, and the checker
reads the log and the index.
"""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import topics
from sightline.config import Config
from sightline.wiring.parts import Parts
from tests.support.deployment import until
from tests.support.edge_folder import end, process_id
from tests.whole.conftest import Started
from tests.whole.rig import CLIP, STILLS, dead_reasons, deployment, findings

KILLS = 3
MANY_KILLS = 25
FRAMES, PICTURES = 50, 10
SETTINGS = ("--set=serve.metrics_port=0", "--set=worker.batch_frames=4", "--set=worker.commit_seconds=0.1")
"""Small steps: a kill finds a frame in every state."""
PROGRESS = (1, 4, 8)
"""A kill comes after one of these numbers of further records is finished, at random, and then …"""
LIFE_SECONDS = 0.5
"""… within this time: anywhere between a poll and a commit."""
WARM_SECONDS = 300.0
"""Deadline of a start: importing torch and loading four models."""

pytestmark = [pytest.mark.whole]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Parts]:
    async with deployment(Config(data=str(tmp_path / "data"))) as parts:
        yield parts


async def done(parts: Parts) -> int:
    """Records that the group has finished."""
    lag = await parts.transport.group_lag("sightline.decode", [topics.RAW])
    ends = await parts.transport.ends(topics.RAW)
    return sum(end for _, end in ends.values()) - sum(lag.values())


class Chance:
    """When the next kill comes. The seed is printed, so that a failure can be reproduced."""

    def __init__(self) -> None:
        self.seed = random.SystemRandom().randrange(1 << 32)
        self._random = random.Random(self.seed)
        print(f"seed {self.seed}")

    def progress(self) -> int:
        return self._random.choice(PROGRESS)

    def life_seconds(self) -> float:
        return self._random.uniform(0, LIFE_SECONDS)

    def round(self, kills: int) -> int:
        return self._random.randrange(kills)


class Rounds:
    def __init__(self, parts: Parts, started: Started, chance: Chance) -> None:
        self._parts, self._started, self._chance = parts, started, chance
        self._index_folder = parts.config.data_path / "index"

    async def kill_worker(self, *, index_too: bool) -> None:
        """Start a worker, let it progress, kill it; with `index_too` first the index process, which it survives."""
        worker = self._started("work", *SETTINGS)
        await self._progress(worker)
        if index_too:
            before = process_id(self._index_folder)
            end(self._index_folder, signal.SIGKILL)
            await self._progress(worker)
            assert process_id(self._index_folder) != before
        try:
            worker.wait(self._chance.life_seconds())
            raise AssertionError("the worker ended by itself")
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

    async def _progress(self, worker: subprocess.Popen[bytes]) -> None:
        ends = await self._parts.transport.ends(topics.RAW)
        goal = min(await done(self._parts) + self._chance.progress(), sum(end for _, end in ends.values()))

        async def reached() -> bool:
            assert worker.poll() is None, "the worker ended by itself"
            return await done(self._parts) >= goal

        await until(reached, seconds=WARM_SECONDS)


async def survive(parts: Parts, started: Started, kills: int, frames: int, fps: float) -> str:
    """Kill `kills` times, then finish. Fails if the promise is broken; returns the checker's counts as a line."""
    chance = Chance()
    rounds, index_round = Rounds(parts, started, chance), chance.round(kills)
    assert started("ingest", CLIP, "--feed", "left", "--fps", str(fps), "--limit", str(frames)).wait(60) == 0
    assert started("ingest", STILLS, "--feed", "stills", "--limit", str(PICTURES)).wait(60) == 0
    for number in range(kills):
        await rounds.kill_worker(index_too=number % KILLS == index_round % KILLS)
    assert started("work", "--until-idle", *SETTINGS).wait(WARM_SECONDS) == 0
    result = await findings(parts)
    assert result.kept, result
    assert result.accepted == frames + PICTURES
    assert result.dead <= kills
    assert await dead_reasons(parts) <= {"crashed_worker"}
    counts = f"{result.accepted} accepted, {result.enriched} enriched, {result.dead} dead"
    return f"{kills} kills: {counts}, {result.repeated} repeated, {len(result.missing)} missing"


@pytest.mark.timeout(1800)
async def test_no_frame_is_lost(here: Parts, started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    line = await survive(here, started, KILLS, FRAMES, 2.5)
    with capsys.disabled():
        print(f"\n{line}")


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_no_frame_is_lost_in_many_kills(
    here: Parts, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    line = await survive(here, started, MANY_KILLS, 290, 10.0)
    with capsys.disabled():
        print(f"\n{line}")
