"""A deployment of the real parts in this process: the embedded log and index, and workers with the tiny models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import tinyworld
from schemas import codec, topics
from schemas.events import FrameEvent
from sightline.config import Config
from sightline.ingest_runner import ingest_jobs, run_job
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import caught_up
from sightline.wiring.parts import Parts, opened
from sightline.wiring.stage_loader import embedding_stages
from streams.lifecycle.check import Findings, check
from streams.lifecycle.dead_letters import DeadLetters
from streams.sources.playback import Playback
from streams.topic_reader import read_topic
from tests.support.deployment import running
from tests.support.edge_folder import edge_folder

SAMPLES = Path(next(iter(tinyworld.__path__))) / "samples"
CLIP, OTHER_CLIP, STILLS = (str(SAMPLES / name) for name in ("left.mp4", "right.mp4", "still-0?.jpg"))


@asynccontextmanager
async def deployment(config: Config) -> AsyncIterator[Parts]:
    """Opened in the configuration's data folder; its index process is ended at the end."""
    with edge_folder(config.data_path / "index"):
        async with opened(config) as parts:
            yield parts


async def feed(parts: Parts, source: str, name: str, limit: int, *, fps: float = 2.5) -> int:
    """The number of accepted frames; a clip has ten a second."""
    (job,) = ingest_jobs([source], name, Playback(fps=fps, limit=limit))
    return (await run_job(parts, job)).accepted


async def work(parts: Parts) -> None:
    """Run a worker for every segment of the plan until everything is processed."""
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(running(build_worker(parts, segment)))
            for segment in range(len(parts.plan.segments))
        ]
        idle = asyncio.create_task(caught_up(parts))
        await asyncio.wait([idle, *workers], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()


async def findings(parts: Parts) -> Findings:
    """The checker's findings on the deployment at rest, with all collections."""
    names = list(await parts.index.collections())
    return await check(parts.transport, parts.index, names, embedding_stages=embedding_stages(parts.config))


async def enriched(parts: Parts) -> dict[str, FrameEvent]:
    """The last event of each frame."""
    written = read_topic(parts.transport, topics.ENRICHED)
    events = [codec.decode_frame(record.value, record.headers).event async for record in written]
    return {event.id: event for event in events}


async def dead_reasons(parts: Parts) -> set[str]:
    """The reasons of all dead letters."""
    letters = await DeadLetters(parts.transport).choose()
    return {each.letter.reason for each in letters}
