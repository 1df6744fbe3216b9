"""SIGTERM to `work --until-idle` on a backlog: what is in flight is committed, and nothing else is said."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deployment import until
from tests.support.pictures import encoded, scene
from tests.unit.sightline.commands.test_waiting import get, url_of
from tests.unit.sightline.conftest import Process, Typed

PICTURES = 300
STOP_SECONDS = 20.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_on_a_backlog(
    typed: Typed, started: Callable[..., Process], tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    content = encoded(scene(1, 32, 24))
    for index in range(PICTURES):
        (folder / f"{index}.jpg").write_bytes(content + index.to_bytes(2))
    plan = '--set=segments=[["decode", "gate"]]'
    assert typed("ingest", str(folder), plan).exit_code == 0
    process = started("work", "--until-idle", plan, "--set=serve.metrics_port=0", "--set=worker.batch_frames=1")
    url = url_of(process)

    def works() -> bool:
        metrics = get(f"{url}/metrics")[1]
        written = [line for line in metrics.splitlines() if line.startswith("sightline_events_out_total")]
        return any(not line.endswith(" 0.0") for line in written)

    asyncio.run(until(works))
    process.process.send_signal(number)
    assert process.process.wait(STOP_SECONDS) == 0, process.stderr
    assert "drained and committed" in process.stderr
    assert "stopping" in process.stderr
    assert "Error" not in process.stderr
    assert "Traceback" not in process.stderr
    left = typed("topics", "describe", plan).stdout
    row = next(line.split() for line in left.splitlines() if line.startswith("frames.raw"))
    assert 0 < int(row[3]) < PICTURES, "it was a backlog still"
