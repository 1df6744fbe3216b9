"""SIGTERM to a real `sightline work`: frames in flight are finished and committed; a second one ends it at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from schemas import topics
from sightline.config import Config
from sightline.wiring.parts import opened_transport
from tests.support.deployment import until
from tests.support.pictures import encoded, scene
from tests.unit.sightline import hold
from tests.unit.sightline.conftest import Process, Typed

Started = Callable[..., Process]
PICTURES, BATCH = 12, 4
PLAN = (("decode", "gate", "hold"),)
AGAIN_SECONDS = 0.2


@pytest.fixture
def worker(typed: Typed, started: Started, tmp_path: Path, request: pytest.FixtureRequest) -> Process:
    """A worker with a batch in flight that cannot end yet; a parameter gives further options."""
    (tmp_path / "shots").mkdir()
    for number in range(PICTURES):
        (tmp_path / "shots" / f"{number}.jpg").write_bytes(encoded(scene(number)))
    assert typed("ingest", "shots").exit_code == 0
    (tmp_path / "sightline.toml").write_text(
        f'segments = [["decode", "gate", "hold"]]\nworker.batch_frames = {BATCH}\nserve.metrics_port = 0\n'
        f'[stages.hold]\nfile = "{hold.__file__}"\nfolder = "{tmp_path}"\n',
        encoding="utf-8",
    )
    process = started("work", *getattr(request, "param", ()))

    def began() -> bool:
        assert process.process.poll() is None, process.stderr
        return (tmp_path / "began").exists()

    asyncio.run(until(began, seconds=60))
    return process


async def _done(data: str) -> tuple[int, int]:
    """Enriched events, and records that the group has finished."""
    async with opened_transport(Config(data=data, segments=PLAN)) as transport:
        enriched = sum(end for _, end in (await transport.ends(topics.ENRICHED)).values())
        behind = await transport.group_lag("sightline.decode", [topics.RAW])
        return enriched, PICTURES - sum(behind.values())


def test_sigterm_finishes_what_is_in_flight_and_commits(worker: Process, tmp_path: Path) -> None:
    worker.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(AGAIN_SECONDS)
    (tmp_path / "go").touch()
    assert worker.process.wait(30) == 0, worker.stderr
    assert "drained and committed" in worker.stderr
    enriched, finished = asyncio.run(_done("data"))
    assert enriched == finished
    assert int((tmp_path / "began").read_text()) <= finished < PICTURES, (
        "frames in flight are finished, and no new one is started"
    )


@pytest.mark.parametrize("worker", [("--until-idle",)], indirect=True, ids=["until-idle"])
def test_sigterm_before_it_is_idle_drains_too(worker: Process, tmp_path: Path) -> None:
    worker.process.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert worker.process.wait(30) == 0, worker.stderr
    assert "drained and committed" in worker.stderr
    assert "Traceback" not in worker.stderr


@pytest.mark.parametrize("worker", [("--set=worker.drain_seconds=0.6",)], indirect=True, ids=["0.6 s"])
def test_what_could_not_be_drained_is_not_called_so(worker: Process) -> None:
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 1, worker.stderr
    assert "will be processed again" in worker.stderr
    assert "drained and committed" not in worker.stderr
    assert asyncio.run(_done("data")) == (0, 0)


def test_a_second_sigterm_ends_it_at_once(worker: Process) -> None:
    for _ in range(50):
        worker.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(AGAIN_SECONDS)
            break
    assert worker.process.returncode == 128 + signal.SIGTERM, worker.stderr
    assert asyncio.run(_done("data")) == (0, 0)
