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
async def restarted(here: Deployment, options: Options) -> AsyncIterator[list[int]]:
    """Restart the worker whenever a fault ends it; yields the exit codes. The last worker is stopped by SIGTERM."""
    exit_codes: list[int] = []
    process, ready = start(here.folder, options)
    watching = True

    async def restart() -> None:
        nonlocal process, ready
        while watching:
            await asyncio.to_thread(process.join, 0.1)
            if process.exitcode == DIED:
                exit_codes.append(DIED)
                process, ready = start(here.folder, options)

    restarting = asyncio.create_task(restart())
    try:
        yield exit_codes
    finally:
        watching = False
        await restarting  # of two threads that wait for one process, only one gets its exit status
        await asyncio.to_thread(ready.poll, DEADLINE_SECONDS)
        process.terminate()
        await asyncio.to_thread(process.join, DEADLINE_SECONDS)
        exit_codes.append(-1 if process.exitcode is None else process.exitcode)


async def deaths_until_drained(here: Deployment, options: Options) -> list[int]:
    async with restarted(here, options) as exit_codes:
        await until(lambda: here.drained(group=f"sightline.{options.stages[0]}"))
    assert exit_codes[-1] == 0, "a worker exits with 0 after SIGTERM"
    findings = await here.findings()
    assert findings.kept, findings
    return exit_codes[:-1]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(Options(dies="points"), id="between points and events"),
        pytest.param(Options(dies="points", atomic=False), id="between points and events, not atomic"),
        pytest.param(Options(dies="events", atomic=False), id="between events and commit"),
    ],
)
async def test_a_death_between_two_writes_neither_loses_nor_doubles_a_frame(here: Deployment, options: Options) -> None:
    await here.publish(OTHERS)
    deaths = await deaths_until_drained(here, msgspec.structs.replace(options, index=str(here.index_folder)))
    assert deaths == [DIED]
    assert (await here.enriched()).keys() == {identity(record) for record in OTHERS}
    assert not await here.letters()


async def test_atomic_outputs_are_written_once_despite_a_death(here: Deployment) -> None:
    """Outputs and offsets are one transaction: a death before it leaves nothing on the topic."""
    await here.publish(OTHERS)
    await deaths_until_drained(here, Options(dies="points", index=str(here.index_folder)))
    written = [record.headers["ce_id"] async for record in read_topic(here.transport, topics.ENRICHED)]
    assert len(written) == len(set(written)) == len(OTHERS)


async def test_a_frame_that_kills_once_is_processed_later(here: Deployment) -> None:
    sent = [*OTHERS[:20], fated(f"abort_once:{here.folder / 'flag'}"), *OTHERS[20:]]
    await here.publish(sent)
    assert await deaths_until_drained(here, Options(index=str(here.index_folder))) == [DIED]
    assert not await here.letters()


@pytest.mark.parametrize("fate", ["abort", "abort_encoding"], ids=["in a stage", "when its event is encoded"])
async def test_a_frame_that_kills_every_time_is_found_and_dead(here: Deployment, fate: str) -> None:
    """Two starts in batches, three in which frames run singly, and the sixth knows the poison frame."""
    poison = fated(fate, feed="door")
    await here.publish([*OTHERS[:20], poison, *OTHERS[20:]])
    deaths = await deaths_until_drained(here, Options(index=str(here.index_folder)))
    assert len(deaths) == 5
    letters = await here.letters()
    assert {frame: letter.reason for frame, letter in letters.items()} == {identity(poison): "crashed_worker"}
    assert letters[identity(poison)].value == poison.value
    assert len(await here.enriched()) == len(OTHERS)
