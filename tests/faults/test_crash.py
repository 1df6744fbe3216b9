"""Processes that die at the worst moment, and frames that kill them: nothing is lost, and the poison frame is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from schemas import topics
from streams.topic_reader import read_topic
from tests.faults.worker_process import Options, start
from tests.support.deployment import DEADLINE_SECONDS, Deployment, deployed, fated, identity, until

DIED = 70
OTHERS = [fated("ok", number=number) for number in range(40)]


@pytest.fixture
async def here(tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        yield deployment


@asynccontextmanager
async def kept_running(here: Deployment, options: Options) -> AsyncIterator[list[int]]:
    """Start the worker again whenever a fault ends it; the list holds how each one ended. It is stopped cleanly at the end."""
    ends: list[int] = []
    process, ready = start(here.folder, options)
    watching = True

    async def restart() -> None:
        nonlocal process, ready
        while watching:
            await asyncio.to_thread(process.join, 0.1)
            if process.exitcode == DIED:
                ends.append(DIED)
                process, ready = start(here.folder, options)

    restarting = asyncio.create_task(restart())
    try:
        yield ends
    finally:
        watching = False
        await restarting  # two threads that wait for one process take its exit status from each other
        await asyncio.to_thread(ready.poll, DEADLINE_SECONDS)
        process.terminate()
        await asyncio.to_thread(process.join, DEADLINE_SECONDS)
        ends.append(-1 if process.exitcode is None else process.exitcode)


async def outlived(here: Deployment, options: Options) -> list[int]:
    async with kept_running(here, options) as ends:
        await until(lambda: here.drained(group=f"sightline.{options.stages[0]}"))
    assert ends[-1] == 0, "SIGTERM ends a worker cleanly"
    found = await here.findings()
    assert found.kept, found
    return ends[:-1]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(Options(dies="points"), id="between points and events"),
        pytest.param(Options(dies="points", atomic=False), id="between points and events, not atomic"),
        pytest.param(Options(dies="events", atomic=False), id="between events and commit"),
    ],
)
async def test_a_death_between_two_writes_loses_and_doubles_nothing(here: Deployment, options: Options) -> None:
    await here.publish(OTHERS)
    deaths = await outlived(here, msgspec.structs.replace(options, index=str(here.index_folder)))
    assert deaths == [DIED]
    assert (await here.enriched()).keys() == {identity(record) for record in OTHERS}
    assert not await here.letters()


async def test_atomic_outputs_are_written_once_whatever_dies(here: Deployment) -> None:
    """Outputs and offsets are one transaction: a death before it leaves nothing behind on the topic."""
    await here.publish(OTHERS)
    await outlived(here, Options(dies="points", index=str(here.index_folder)))
    written = [record.headers["ce_id"] async for record in read_topic(here.transport, topics.ENRICHED)]
    assert len(written) == len(set(written)) == len(OTHERS)


async def test_a_frame_that_kills_once_is_processed_in_the_end(here: Deployment) -> None:
    sent = [*OTHERS[:20], fated(f"abort_once:{here.folder / 'flag'}"), *OTHERS[20:]]
    await here.publish(sent)
    assert await outlived(here, Options(index=str(here.index_folder))) == [DIED]
    assert not await here.letters()


@pytest.mark.parametrize("fate", ["abort", "abort_encoding"], ids=["in a stage", "when its event is encoded"])
async def test_a_frame_that_kills_every_time_is_found_and_dead(here: Deployment, fate: str) -> None:
    """Two starts in batches, three in which frames run singly, and the sixth knows the poison frame."""
    bad = fated(fate, feed="door")
    await here.publish([*OTHERS[:20], bad, *OTHERS[20:]])
    deaths = await outlived(here, Options(index=str(here.index_folder)))
    assert len(deaths) == 5
    letters = await here.letters()
    assert {frame: letter.reason for frame, letter in letters.items()} == {identity(bad): "crashed_worker"}
    assert letters[identity(bad)].value == bad.value
    assert len(await here.enriched()) == len(OTHERS)
