"""Interrupting a real process in the middle of a long ingest, by SIGINT and by SIGKILL."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from streams.clock import SystemClock
from streams.sources.playback import Playback, VideoSource
from tests.contract.source_suite import TENANT, ingest_target
from tests.support.videos import write_video

DEADLINE_SECONDS = 60.0
ENOUGH_FRAMES = 30


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
async def test_frames_reported_as_accepted_are_there_once(tmp_path: Path, by: signal.Signals) -> None:
    clip, folder = write_video(tmp_path / "clip.mp4", fps=100), tmp_path / "target"
    async with ingest_target(folder):
        pass  # makes the topics
    reported = await _interrupted(folder, clip, by)
    async with ingest_target(folder) as target:
        events = await target.events()
        assert reported <= len(events) < 1_000
        for event in events:
            assert await target.blobs.get(TENANT, event.image.uri) == event.image.inline
        summary = await target.ingest(VideoSource(clip, Playback(laps=50), SystemClock()))
        assert (summary.repeated, summary.accepted) == (len(events), 1_000 - len(events))
        assert len({event.id for event in await target.events()}) == len(await target.events()) == 1_000


async def _interrupted(folder: Path, clip: Path, by: signal.Signals) -> int:
    """Number of frames that the process reported as accepted before its end."""
    program = "tests.unit.streams.sources.interrupted"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", program, str(folder), str(clip), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    accepted = 0
    async with asyncio.timeout(DEADLINE_SECONDS):
        while accepted < ENOUGH_FRAMES and (line := await process.stdout.readline()):
            accepted = int(line)
        process.send_signal(by)
        rest, errors = await process.communicate()
    assert process.returncode not in (0, None), errors.decode()
    return max([accepted, *map(int, rest.split())])
