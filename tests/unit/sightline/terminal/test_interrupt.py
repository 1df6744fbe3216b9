"""Ctrl-C to real processes: they end at once, whatever they do, with one line and without a traceback."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from sightline.config import Config
from sightline.wiring.parts import opened_transport
from tests.support.deployment import until
from tests.support.pictures import encoded, scene
from tests.unit.sightline import stuck
from tests.unit.sightline.conftest import Process, Typed

Started = Callable[..., Process]
END_SECONDS = 10.0
"""The promise is two; a busy machine takes longer, and what is interrupted here would take minutes."""
SAMPLE = Path(__file__).parents[4] / "tinyworld" / "samples" / "left.mp4"
STUCK_PLAN = f'segments = [["decode", "stuck"]]\nserve.metrics_port = 0\n[stages.stuck]\nfile = "{stuck.__file__}"\n'


SLOW_END = """
import asyncio, atexit, os, sys, time
from sightline.terminal import signals

async def show():
    closed = asyncio.Event()
    with signals.cancelling(), signals.doing("showing"), signals.stopping(closed.set, within=1.2):
        os.kill(os.getpid(), int(sys.argv[1]))
        await closed.wait()

atexit.register(time.sleep, 60)
with signals.installed():
    asyncio.run(show())
"""
"""A program whose models take a minute to be unloaded."""


def interrupt(process: Process, began: Callable[[], Any], number: signal.Signals = signal.SIGINT) -> list[str]:
    """Send the signal once `began` is true. The lines of standard error."""

    async def is_interruptible() -> bool:
        assert process.process.poll() is None, process.stderr
        answer = began()
        return bool(await answer if asyncio.iscoroutine(answer) else answer)

    asyncio.run(until(is_interruptible, seconds=90))
    process.process.send_signal(number)
    process.process.wait(END_SECONDS)
    assert "Traceback" not in process.stderr
    return process.stderr.splitlines()


def models_load(process: Process) -> bool:
    """Whether torch is in the process: importing it and loading models take seconds more."""
    return "libtorch" in Path(f"/proc/{process.process.pid}/maps").read_text()


def test_a_main_thread_in_native_code_is_interrupted(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sightline.toml").write_text(STUCK_PLAN)
    monkeypatch.setenv("STUCK_WHILE_IMPORTED", "1")
    process = started("config", "check")
    assert interrupt(process, (tmp_path / "stuck").exists) == ["✗ interrupted while running sightline config check"]
    assert process.process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_worker_whose_models_load_stops_before_it_takes_a_frame(
    started: Started, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "sightline.toml").write_text(STUCK_PLAN)
    process = started("work")
    lines = [json.loads(line) for line in interrupt(process, (tmp_path / "stuck").exists, number)]
    assert lines[-1]["event"] == "stopped before it took any frame", "a service's sentences are lines of its log"
    assert process.process.returncode == 0


def test_an_ingest_keeps_what_it_has_accepted(started: Started, tmp_path: Path) -> None:
    process = started("ingest", str(SAMPLE), "--realtime", "--loop", "0", "--fps", "5")

    async def accepted() -> int:
        async with opened_transport(Config(data=str(tmp_path / "data"))) as transport:
            return sum(end for _, end in (await transport.ends(topics.RAW)).values())

    lines = interrupt(process, accepted)
    assert process.process.returncode == 130
    kept = asyncio.run(accepted())
    assert kept > 0
    frames = "1 frame" if kept == 1 else f"{kept} frames"
    assert lines == [f"✗ interrupted while ingesting: {frames} accepted; what is accepted is kept"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_what_has_nothing_to_finish_does_not_wait_for_the_interpreter(tmp_path: Path, number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW_END, str(int(number))], capture_output=True, text=True, timeout=END_SECONDS
    )
    assert (done.returncode, done.stderr) == (0, "stopped while showing\n")


@pytest.mark.whole
@pytest.mark.timeout(900)
def test_commands_that_load_models_end_at_once(
    typed: Typed, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shots").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "shots" / "1.jpg").write_bytes(encoded(scene(1)))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    typed("ingest", "shots")
    assert typed("work", "--until-idle", "--set", "serve.metrics_port=0").exit_code == 0
    for arguments, status, said in (
        (("search", "a red circle"), 130, "✗ interrupted while loading models"),
        (("demo",), 130, "✗ interrupted while loading models"),
        (("serve", "--set", "serve.port=0", "--set=log_format=console"), 0, "stopped while loading models"),
        (("caption", "shots/1.jpg"), 130, "✗ interrupted while running sightline caption"),
    ):
        process = started(*arguments)
        lines = interrupt(process, partial(models_load, process))
        assert (process.process.returncode, lines[-1]) == (status, said), arguments
    assert not [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("sightline-")]
