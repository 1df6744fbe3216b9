"""Records that no worker of the plan finishes: told, moved on, dead-lettered, or given up with their group."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sightline.api.tally import Tally
from sightline.config import Config
from sightline.wiring.build_worker import build_worker
from sightline.wiring.parts import opened
from streams.worker.settings import WorkerSettings
from tests.support.deployment import running, until
from tests.unit.sightline.conftest import Typed

SPLIT, FUSED = (("decode",), ("decode", "gate")), (("decode", "gate"),)
LEFT = "frames.to.gate"
LINE = f"5 frames are left on {LEFT}, which this plan does not read: run `sightline topics finish {LEFT}`"


def plan(segments: tuple[tuple[str, ...], ...]) -> str:
    return f"--set=segments={json.dumps(segments)}"


def words(text: str) -> str:
    """Without the line breaks of a console."""
    return " ".join(text.split())


async def work_on_first_segment(data: Path, group: str = "sightline") -> None:
    config = Config(data=str(data), segments=SPLIT, worker=WorkerSettings(group=group))
    async with opened(config) as parts, running(build_worker(parts, 0)):

        async def finished() -> bool:
            return not sum((await parts.transport.group_lag(f"{group}.decode", ["frames.raw"])).values())

        await until(finished)


async def counted_as_accepted(data: Path) -> int:
    """What the page says."""
    async with opened(Config(data=str(data), segments=FUSED)) as parts:
        tally = Tally(parts.transport, {}, "default")
        while await tally.step():
            pass
        return tally.counts()["in"]


@pytest.fixture
def left_over(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    """Five frames on the topic between two segments; the sixth picture is dead."""
    assert typed("ingest", str(pictures), plan(SPLIT)).exit_code == 0
    asyncio.run(work_on_first_segment(tmp_path / "data"))


@pytest.mark.usefixtures("left_over")
def test_frames_of_a_plan_that_changed_are_told_and_moved_on(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    checked = typed("topics", "check", plan(FUSED))
    assert checked.exit_code == 1
    assert LINE in words(checked.stderr)
    assert LINE in words(typed("ingest", str(pictures), plan(FUSED)).stderr)
    assert LINE in words(typed("check", plan(FUSED)).output)
    assert LINE not in words(typed("ingest", str(pictures), plan(SPLIT)).stderr)

    finished = typed("topics", "finish", LEFT, plan(FUSED))
    assert "5 frames moved on" in finished.stdout
    assert typed("topics", "check", plan(FUSED)).exit_code == 0
    worked = typed("work", "--until-idle", plan(FUSED))
    assert LINE not in words(worked.stderr)
    result = typed("check", plan(FUSED))
    assert "6 frames accepted: 5 enriched, 1 dead-lettered" in result.stdout
    assert result.exit_code == 0
    assert "sightline.gate" not in typed("groups", "list", plan(FUSED)).stdout
    assert "0 frames moved on" in typed("topics", "finish", LEFT, plan(FUSED)).stdout
    assert asyncio.run(counted_as_accepted(tmp_path / "data")) == 6


@pytest.mark.usefixtures("left_over")
def test_frames_of_a_plan_that_changed_may_be_dead_and_replayed(typed: Typed) -> None:
    assert "5 frames dead" in typed("topics", "finish", LEFT, "--dead", plan(FUSED)).stdout
    assert typed("check", plan(FUSED)).exit_code == 0
    assert "5 dead letters" in typed("dead", "list", "--reason", "left_over", plan(FUSED)).stdout
    assert "5 of 5 dead letters replayed" in typed("dead", "replay", "--reason", "left_over", plan(FUSED)).stdout
    assert typed("work", "--until-idle", plan(FUSED)).exit_code == 0
    assert "6 frames accepted: 5 enriched, 1 dead-lettered" in typed("check", plan(FUSED)).stdout


@pytest.mark.usefixtures("left_over")
def test_a_group_that_is_given_up_leaves_its_frames_dead(typed: Typed) -> None:
    listed = words(typed("groups", "list", plan(FUSED)).stdout)
    assert "sightline.decode yes 0 0" in listed
    tried = typed("groups", "give-up", "sightline.decode", "--yes", plan(FUSED))
    assert tried.exit_code == 1
    assert "is of the present plan" in words(tried.stderr)

    # no worker of the second segment has ever been there
    assert typed("groups", "give-up", "sightline.gate", plan(FUSED)).exit_code == 2


def test_a_renamed_group_holds_nothing_that_the_plan_s_own_does_not(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    assert typed("ingest", str(pictures), plan(FUSED)).exit_code == 0
    asyncio.run(join_only(tmp_path / "data", "frames.raw", "old.decode"))
    forced = typed("groups", "give-up", "sightline.decode", "--yes", "--force", plan(FUSED))
    assert forced.exit_code == 1
    assert "and old.decode has read the same topic: give that one up first" in words(forced.stderr)
    told = typed("groups", "give-up", "old.decode", plan(FUSED))
    assert "group old.decode holds 6 records back" in told.stdout
    assert "nothing was changed" in told.stdout
    assert "old.decode" in typed("groups", "list", plan(FUSED)).stdout
    given_up = typed("groups", "give-up", "old.decode", "--yes", plan(FUSED))
    assert "group old.decode is forgotten; 0 frames dead" in given_up.stdout
    assert "old.decode" not in typed("groups", "list", plan(FUSED)).stdout
    assert typed("work", "--until-idle", plan(FUSED)).exit_code == 0
    assert typed("check", plan(FUSED)).exit_code == 0


@pytest.mark.usefixtures("left_over")
def test_what_only_a_given_up_group_had_to_finish_is_dead(typed: Typed, tmp_path: Path) -> None:
    asyncio.run(join_only(tmp_path / "data", LEFT, "sightline.gate"))
    told = typed("groups", "give-up", "sightline.gate", plan(FUSED))
    assert f"5 frames on {LEFT} that no other group finishes: dead" in words(told.stdout)
    given_up = typed("groups", "give-up", "sightline.gate", "--yes", plan(FUSED))
    assert "group sightline.gate is forgotten; 5 frames dead" in given_up.stdout
    assert "5 dead letters" in typed("dead", "list", "--reason", "group_given_up", plan(FUSED)).stdout
    assert typed("topics", "check", plan(FUSED)).exit_code == 0
    assert typed("check", plan(FUSED)).exit_code == 0


def test_a_group_of_the_plan_is_given_up_by_force(typed: Typed, pictures: Path) -> None:
    assert typed("ingest", str(pictures), plan(FUSED)).exit_code == 0
    assert typed("work", "--until-idle", plan(FUSED)).exit_code == 0
    (pictures / "0.jpg").rename(pictures / "again.jpg")
    assert typed("ingest", str(pictures), "--feed", "other", plan(FUSED)).exit_code == 0
    given_up = typed("groups", "give-up", "sightline.decode", "--yes", "--force", plan(FUSED))
    assert "group sightline.decode has nothing left to do; 6 frames dead" in given_up.stdout
    assert typed("check", plan(FUSED)).exit_code == 0
    assert typed("work", "--until-idle", plan(FUSED)).exit_code == 0
    assert "12 frames accepted: 5 enriched, 7 dead-lettered" in typed("check", plan(FUSED)).stdout


async def join_only(data: Path, topic: str, group: str) -> None:
    """A member that comes, commits nothing and goes."""

    class Listener:
        async def assigned(self, partitions: object) -> None: ...

        async def revoked(self, partitions: object) -> None: ...

    async with opened(Config(data=str(data), segments=SPLIT)) as parts:
        consumer = await parts.transport.consumer(group, [topic], Listener())
        await consumer.poll(1, 0.05)
        await consumer.close()
