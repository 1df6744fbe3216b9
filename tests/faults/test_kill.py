"""kill -9 at random during a run, of workers and the index process: the promise is kept, and no point is doubled.

Decode, gate and the sinks are the real ones. Workers are forked from a process that has everything imported, so a start
takes a moment and kills can be many.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from schemas import topics
from schemas.identity import partition_key
from streams.transport import NewRecord
from tests.faults.worker_process import Options, start
from tests.support.deployment import Deployment, deployed, until
from tests.support.edge_folder import edge_folder, end
from tests.support.fault_stages import commented
from tests.support.picture_headers import picture_headers
from tests.support.pictures import encoded, scene

KILLS = 1000 if os.environ.get("LONG") == "1" else 50
FRAMES_PER_KILL = 24
OPTIONS = Options(stages=("decode", "gate", "embed"), batch_frames=8)
WORKERS = 2
PROGRESS = (0, 1, 1, 8, 16)
"""A kill comes after this many more records are committed, drawn at random, and then …"""
LIFE_SECONDS = 0.1
"""… within this time: anywhere between a poll and a commit."""
PICTURES = [encoded(scene(seed)) for seed in range(12)]


def pictures(first: int) -> list[NewRecord]:
    """Numbered pictures: stills, and two cameras that often repeat a picture, which the gate leaves out."""
    return [_picture(number) for number in range(first, first + FRAMES_PER_KILL)]


def _picture(number: int) -> NewRecord:
    feed, kind = [("stills", "still"), ("lobby", "frame"), ("door", "frame")][number % 3]
    content = commented(PICTURES[number // 6 % len(PICTURES)], f"ok#{number}")
    headers = picture_headers(f"/tests/{feed}", str(number), content_type="image/jpeg", kind=kind)
    key = partition_key("default", feed) if kind == "frame" else str(number).encode()
    return NewRecord(topics.RAW, key, content, headers)


class Victims:
    """Workers that are killed and restarted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = [start(folder, OPTIONS) for _ in range(WORKERS)]

    async def kill(self, progress: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait for progress and then `seconds`; kill the oldest worker and start another."""
        process, ready = self._running.pop(0)
        assert ready.recv() == "ready"
        await until(progress, seconds=120)
        process.join(seconds)
        assert process.is_alive(), "a worker exited by itself"
        process.kill()
        process.join()
        self._running.append(start(self._folder, OPTIONS))

    def assert_alive(self) -> None:
        assert all(process.is_alive() for process, _ in self._running)

    def stop(self) -> list[int | None]:
        """Send SIGTERM to each worker once its work has begun: before that it would exit without a drain."""
        for process, ready in self._running:
            ready.poll(30)
            process.terminate()
        for process, _ in self._running:
            process.join(30)
        return [process.exitcode for process, _ in self._running]


async def committed(here: Deployment) -> int:
    """Records that the group has finished."""
    behind = await here.transport.group_lag("sightline.decode", [topics.RAW])
    ends = await here.transport.ends(topics.RAW)
    return sum(end for _, end in ends.values()) - sum(behind.values())


async def reached(here: Deployment, goal: int) -> bool:
    return await committed(here) >= goal


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Deployment]:
    with edge_folder(tmp_path / "index") as folder:
        async with deployed(tmp_path, index_folder=folder) as deployment:
            yield deployment


@pytest.mark.timeout(3600 if KILLS > 50 else 600)
async def test_no_frame_is_lost_whichever_process_is_killed(
    here: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    victims = Victims(here.folder)
    published = 0
    try:
        for _ in range(KILLS):
            await here.publish(pictures(published))
            published += FRAMES_PER_KILL
            goal = await committed(here) + rng.choice(PROGRESS)
            await victims.kill(lambda goal=goal: reached(here, goal), rng.uniform(0, LIFE_SECONDS))  # type: ignore[misc]
            if rng.random() < 0.1:
                end(here.index_folder, signal.SIGKILL)
        await until(lambda: here.drained(group="sightline.decode"), seconds=120)
        victims.assert_alive()
    finally:
        exits = victims.stop()
    findings = await here.findings()
    with capsys.disabled():
        print(
            f"\n{KILLS} kills: {findings.accepted} accepted, {findings.enriched} enriched, {findings.dead} dead,",
            end=" ",
        )
        print(f"{findings.repeated} repeated, {len(findings.missing)} missing")
    assert exits == [0] * WORKERS
    assert findings.kept, findings
    assert findings.accepted == published
    assert findings.repeated == 0, "outputs and offsets are one transaction"
    assert findings.dead == 0, "no frame is blamed for a kill from outside"
