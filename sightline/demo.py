"""The demo: sources, the workers, the page and three searches in one process, everything embedded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from search.query import parse
from search.results import Contents, Found
from search.retrieve import Searcher
from sightline.config import Config
from sightline.ingest_runner import IngestJob, feed_all, feed_one, feedings, told
from sightline.terminal.contact_sheet import contact_sheet
from sightline.terminal.options import err, out
from sightline.terminal.render import tell
from sightline.terminal.signals import stopping
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import shown_until_caught_up
from sightline.wiring.parts import Parts, opened
from sightline.wiring.searcher import load_searcher
from sightline.wiring.server import served
from streams.sources.playback import Playback

SAMPLES = {"left": "left.mp4", "right": "right.mp4", "stills": "still-*.jpg"}
"""Shipped files by feed: two cameras on one scene, and pictures."""
FIRST_FPS, LATER_FPS = 5.0, 2.0
"""The first lap is taken as fast as it goes, so that there is something to search; later ones at the clips' speed."""
QUERIES = ("a red circle, but no square", "a cartoon of a green star", "a photo of a blue square")
SHOWN = 4
"""Pictures of each search on the contact sheet."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What was asked for; without `sources` the shipped clips and stills are shown. `sheet` is a JPEG to write."""

    config: Config
    sources: Sequence[str]
    once: bool
    sheet: Path

    def feedings(self) -> list[IngestJob]:
        first = Playback(fps=FIRST_FPS)
        if self.sources:
            return feedings(self.sources, "", first)
        return [IngestJob(str(_samples() / name), feed, first) for feed, name in SAMPLES.items()]

    def later(self) -> list[IngestJob]:
        """The shipped clips go on for ever, so that the page lives; own sources are read once."""
        if self.once or self.sources:
            return []
        on = Playback(fps=LATER_FPS, realtime=True, laps=None)
        return [replace(entry, playback=on) for entry in self.feedings() if entry.spec.endswith(".mp4")]


async def run(demo: Demo, listener: socket.socket) -> None:
    """Until Ctrl-C; with `once` until the searches are shown. Raises what ends a worker or a source."""
    async with opened(demo.config) as parts:
        registries = [CollectorRegistry() for _ in parts.plan.segments]  # one name may stand in a registry only once
        workers = [build_worker(parts, number, registry) for number, registry in enumerate(registries)]
        err.print("loading models")
        searcher = await asyncio.to_thread(load_searcher, demo.config, parts.index, parts.blobs)
        host, port = listener.getsockname()[:2]
        async with served(parts, searcher, listener, registries[0]):
            err.print(f"the page is at [bold]http://{host}:{port}[/]", markup=True)
            works = [asyncio.create_task(worker.run()) for worker in workers]
            shows = asyncio.create_task(_show(demo, parts, searcher))
            with stopping(partial(_cancel, shows)):
                await asyncio.wait([shows, *works], return_when=asyncio.FIRST_COMPLETED)
            shows.cancel()
            for worker in workers:
                worker.stop()
            await asyncio.gather(*works)
            with suppress(asyncio.CancelledError):
                await shows
        searcher.close()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _show(demo: Demo, parts: Parts, searcher: Searcher) -> None:
    wanted = demo.feedings()
    summaries = await feed_all(parts, wanted, err)
    for entry, summary in zip(wanted, summaries, strict=True):
        for line in told(entry.feed, summary):
            err.print(line, markup=True)
    await shown_until_caught_up(parts, err)
    async with asyncio.TaskGroup() as group:
        for entry in demo.later():
            group.create_task(feed_one(parts, entry))
        await _search(demo, parts, searcher)
        if not demo.once:
            err.print("the page goes on; Ctrl-C ends it")
            await asyncio.Event().wait()


async def _search(demo: Demo, parts: Parts, searcher: Searcher) -> None:
    queries = QUERIES if not demo.sources else _own_queries(await searcher.contents())
    sheet: list[tuple[str, Found]] = []
    for text in queries:
        result = await searcher.search(parse(text, now=datetime.now(UTC), limit=SHOWN))
        out.print(f"\n[bold cyan]$ sightline search {text!r}[/]", markup=True)
        tell(result, demo.config)
        sheet += [(text, hit) for hit in result.hits]
    await _write_sheet(demo, parts, sheet)


def _own_queries(contents: Contents) -> list[str]:
    """Three queries made of what the index holds."""
    named = [*contents.phrases, *contents.labels]
    if len(named) < 2:
        return named
    return [named[0], f"{named[0]}, but no {named[1].split()[-1]}", named[1]]


async def _write_sheet(demo: Demo, parts: Parts, found: Sequence[tuple[str, Found]]) -> None:
    if not found:
        return
    tenant = demo.config.tenant
    pictures = [await parts.blobs.get(tenant, hit.payload["uri"]) for _, hit in found]
    lines = [text if hit.probability is None else f"{hit.probability:.0%} {text}" for text, hit in found]
    demo.sheet.write_bytes(await asyncio.to_thread(contact_sheet, pictures, lines, SHOWN))
    out.print(f"\nthe pictures found are on [bold]{demo.sheet}[/]", markup=True)


def _samples() -> Path:
    import tinyworld

    return Path(next(iter(tinyworld.__path__))) / "samples"
