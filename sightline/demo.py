"""The demo: sources, workers, page and three searches in one process, with the embedded log and index."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry
from rich.markup import escape

from search.query import parse
from search.results import Contents, SearchHit
from search.retrieve import Searcher
from sightline.config import Config
from sightline.ingest_runner import (
    IngestJob,
    error_lines,
    ingest_jobs,
    raise_errors,
    run_job,
    run_jobs,
    summary_lines,
)
from sightline.terminal.console import quoted
from sightline.terminal.contact_sheet import contact_sheet
from sightline.terminal.options import UsageError, err, out, print_lines
from sightline.terminal.outputs import write_output
from sightline.terminal.progress import with_status
from sightline.terminal.render import print_result
from sightline.terminal.signals import GRACE_SECONDS, doing, stopping
from sightline.terminal.storage import print_storage
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import caught_up, describe_left
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import Parts, opened
from sightline.wiring.searcher import opened_searcher
from sightline.wiring.server import page_url, served
from sightline.wiring.storage import storage_lines
from sightline.wiring.unfinished import unfinished_lines
from streams.clock import SystemClock
from streams.sources.feed_names import STANDARD_INPUT
from streams.sources.ingest_counts import Summary
from streams.sources.playback import Playback
from streams.sources.source_choice import RemoteOptions, choose_source
from streams.worker.worker import Worker

SAMPLES = {"left": "left.mp4", "right": "right.mp4", "stills": "still-*.jpg"}
"""Shipped files by feed: two cameras on one scene, and stills."""
FIRST_FPS, LATER_FPS = 5.0, 2.0
"""The first lap is read as fast as possible, so that searches find something; later laps play at the clips' speed."""
QUERIES = ("a red circle, but no square", "a cartoon of a green star", "a photo of a blue square")
HITS = 4
"""Pictures of each search on the contact sheet."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What to show: `sources`, or without any the shipped clips and stills. `sheet` is the JPEG file to write."""

    config: Config
    sources: Sequence[str]
    once: bool
    sheet: Path

    def jobs(self) -> list[IngestJob]:
        playback = Playback(fps=FIRST_FPS)
        if self.sources:
            return ingest_jobs(self.sources, "", playback)
        return [IngestJob(str(_samples() / name), feed, playback) for feed, name in SAMPLES.items()]

    def endless_jobs(self) -> list[IngestJob]:
        """The shipped clips, played without end so that the page stays alive; sources of the user are read once."""
        if self.once or self.sources:
            return []
        playback = Playback(fps=LATER_FPS, realtime=True, laps=None)
        return [replace(job, playback=playback) for job in self.jobs() if job.spec.endswith(".mp4")]


def check_sources(config: Config, sources: Sequence[str]) -> None:
    """Raises UnreadableSource or UsageError: models are loaded before sources are read."""
    try:
        jobs = ingest_jobs(sources, "", Playback(fps=FIRST_FPS))
    except ValueError as error:
        raise UsageError(str(error)) from None
    for job in jobs:
        if job.spec != STANDARD_INPUT:
            choose_source(job.spec, job.playback, SystemClock(), RemoteOptions(fetch=config.fetch))


async def run(demo: Demo, listener: socket.socket) -> None:
    """Until Ctrl-C; with `once` until the searches are shown. Raises the error that ended a worker or a source."""
    async with opened(demo.config) as parts, AsyncExitStack() as stack:
        await check_parts(demo.config, parts.transport, parts.index, needed=("index", "pictures"))
        print_lines(await unfinished_lines(demo.config, parts.transport))
        print_storage(await storage_lines(demo.config, parts.blobs))
        registries = [CollectorRegistry() for _ in parts.plan.segments]  # a registry holds each metric's name once
        workers = [build_worker(parts, number, registry) for number, registry in enumerate(registries)]
        err.print("loading models")
        with doing("loading models"):
            searcher = await stack.enter_async_context(opened_searcher(demo.config, parts.index, parts.blobs))
        await stack.enter_async_context(served(parts, searcher, listener, registries[0]))
        err.print(f"the page is at [bold]{page_url(demo.config, listener)}[/]", markup=True)
        with doing("processing pictures"):
            await _run_beside(workers, _show(demo, parts, searcher))


async def _run_beside(workers: Sequence[Worker], show: Coroutine[None, None, None]) -> None:
    """Until `show` or a worker ends; then, or when this is cancelled, the workers drain."""
    working = [asyncio.create_task(worker.run()) for worker in workers]
    showing = asyncio.create_task(show)
    try:
        await asyncio.wait([showing, *working], return_when=asyncio.FIRST_COMPLETED)
    finally:
        showing.cancel()
        for worker in workers:
            worker.stop()
        await asyncio.gather(*working)
    with suppress(asyncio.CancelledError):
        await showing


async def _show(demo: Demo, parts: Parts, searcher: Searcher) -> None:
    jobs = demo.jobs()
    results = await run_jobs(parts, jobs, err)
    for job, result in zip(jobs, results, strict=True):
        for line in [] if isinstance(result, Exception) else summary_lines(job.feed, result):
            err.print(line, markup=True)
    if not any(isinstance(result, Summary) for result in results):
        raise_errors(results)
    for line in error_lines(results):
        err.print(f"[bold red]✗[/] {quoted(line)}", markup=True, soft_wrap=True)
    await with_status(caught_up(parts), partial(describe_left, parts), err)
    async with asyncio.TaskGroup() as group:
        playing = [group.create_task(run_job(parts, job)) for job in demo.endless_jobs()]
        with doing("searching"):
            await _search(demo, parts, searcher)
        if not demo.once:
            await _until_closed()
        for task in playing:
            task.cancel()


async def _until_closed() -> None:
    closed = asyncio.Event()
    err.print("the page stays open until Ctrl-C")
    with doing("showing the page"), stopping(closed.set, within=GRACE_SECONDS):
        await closed.wait()


async def _search(demo: Demo, parts: Parts, searcher: Searcher) -> None:
    queries = QUERIES if not demo.sources else _queries_for(await searcher.contents())
    hits: list[tuple[str, SearchHit]] = []
    for text in queries:
        result = await searcher.search(parse(text, now=datetime.now(UTC), limit=HITS))
        out.print(f"\n[bold cyan]$ sightline search {text!r}[/]", markup=True)
        print_result(result, demo.config)
        hits += [(text, hit) for hit in result.hits]
    await _write_sheet(demo, parts, hits)


def _queries_for(contents: Contents) -> list[str]:
    """Up to three queries about what the index holds."""
    terms = [*contents.phrases, *contents.labels]
    if len(terms) < 2:
        return terms
    return [terms[0], f"{terms[0]}, but no {terms[1].split()[-1]}", terms[1]]


async def _write_sheet(demo: Demo, parts: Parts, hits: Sequence[tuple[str, SearchHit]]) -> None:
    if not hits:
        return
    tenant = demo.config.tenant
    pictures = [await parts.blobs.get(tenant, hit.payload["uri"]) for _, hit in hits]
    lines = [text if hit.probability is None else f"{hit.probability:.0%} {text}" for text, hit in hits]
    write_output(demo.sheet, await asyncio.to_thread(contact_sheet, pictures, lines, HITS))
    out.print(f"\nContact sheet written to [bold]{escape(str(demo.sheet))}[/]", markup=True)


def _samples() -> Path:
    import tinyworld

    return Path(next(iter(tinyworld.__path__))) / "samples"
