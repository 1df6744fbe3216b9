"""The `sightline feeds` commands, and a process that reads the feeds; no secret is written or shown."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from schemas import topics
from streams.sqlite.transport import SqliteTransport
from tests.support.deployment import until
from tests.support.videos import write_video
from tests.unit.sightline.conftest import Process, Typed

SECRET = "hunter2"  # noqa: S105 - not a real secret


def test_feeds_are_added_changed_paused_and_removed(typed: Typed) -> None:
    assert typed("feeds", "add", "door", "rtsp://${USER}:${PASSWORD}@camera/live", "--fps", "2").exit_code == 0
    assert typed("feeds", "add", "yard", "0", "--policy", "lossless").exit_code == 0
    again = typed("feeds", "add", "door", "0")
    assert (again.exit_code, "there already" in again.stderr) == (2, True)
    assert typed("feeds", "change", "door", "--fps", "5", "--max-age", "3").exit_code == 0
    assert typed("feeds", "pause", "yard").exit_code == 0
    shown = typed("feeds", "list").stdout
    door, yard = (next(line for line in shown.splitlines() if line.startswith(name)) for name in ("door", "yard"))
    assert "rtsp://camera/live" in door
    assert "live, 3 s" in door
    assert " 5 " in door
    assert "lossless" in yard
    assert yard.rstrip().endswith("paused")
    assert typed("feeds", "remove", "door").exit_code == 0
    assert typed("feeds", "remove", "door").exit_code == 2
    assert "door" not in typed("feeds", "list").stdout


@pytest.mark.parametrize("source", [f"rtsp://anna:{SECRET}@camera/live", f"http://camera/video?token={SECRET}"])
def test_a_password_in_clear_is_neither_accepted_nor_shown(typed: Typed, tmp_path: Path, source: str) -> None:
    assert typed("feeds", "add", "yard", "0").exit_code == 0
    for command in (["add", "door", source], ["change", "yard", "--source", source]):
        refused = typed("feeds", *command)
        assert refused.exit_code == 1
        assert SECRET not in refused.stdout + refused.stderr
    with closing(sqlite3.connect(tmp_path / "data" / "log.sqlite")) as log:
        assert not any(SECRET in line for line in log.iterdump())


@pytest.mark.parametrize("wrong", [["--fps", "0"], ["--quality", "0"], ["--max-age", "0"], ["--policy", "both"]])
def test_impossible_feed_settings_are_refused(typed: Typed, wrong: list[str]) -> None:
    assert typed("feeds", "add", "door", "0", *wrong).exit_code == 2


def test_a_running_process_reads_feeds_added_before_and_after_its_start(
    typed: Typed, started: Callable[..., Process], tmp_path: Path
) -> None:
    """The first SIGTERM ends the process with status 0."""
    before, later = write_video(tmp_path / "a.mp4", frames=4), write_video(tmp_path / "b.mp4", frames=6, fps=5)
    assert typed("feeds", "add", "before", str(before)).exit_code == 0
    process = started("feeds", "run")
    asyncio.run(until(lambda: frames_accepted(tmp_path, 4)))
    assert typed("feeds", "add", "later", str(later)).exit_code == 0
    asyncio.run(until(lambda: frames_accepted(tmp_path, 10)))
    os.kill(process.process.pid, signal.SIGTERM)
    assert process.process.wait(60) == 0, process.stderr


async def frames_accepted(folder: Path, count: int) -> bool:
    transport = SqliteTransport(folder / "data" / "log.sqlite")
    await transport.open()
    ends = await transport.ends(topics.RAW)
    await transport.close()
    return sum(end for _, end in ends.values()) >= count
