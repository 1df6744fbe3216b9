"""Ingests several sources side by side with a progress bar each, and tells what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from schemas.identity import check_name
from sightline.wiring.parts import Parts
from streams.clock import Clock, SystemClock
from streams.sources.acceptor import Progress, Report, Summary
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.playback import Playback
from streams.sources.source import Source
from streams.sources.source_choice import RemoteOptions, choose_source, feed_name


@dataclass(frozen=True, slots=True)
class IngestJob:
    """One source as it was asked for: what to read, under which feed's name, how to play it.

    `follow_seconds` looks into an object store again after so long.
    """

    spec: str
    feed: str
    playback: Playback
    follow_seconds: float | None = None


def feedings(
    specs: Sequence[str], feed: str, playback: Playback, follow_seconds: float | None = None
) -> list[IngestJob]:
    """Raises ValueError for a name that no feed may have."""
    names = [check_name("feed", feed or feed_name(spec)) for spec in specs]
    return [IngestJob(spec, name, playback, follow_seconds) for spec, name in zip(specs, names, strict=True)]


async def feed_one(
    parts: Parts, feeding: IngestJob, report: Report | None = None, clock: Clock | None = None
) -> Summary:
    """Raises UnreadableSource."""
    clock = clock or SystemClock()
    remote = RemoteOptions(fetch=parts.config.fetch, follow_seconds=feeding.follow_seconds)
    source = await asyncio.to_thread(choose_source, feeding.spec, feeding.playback, clock, remote)
    return await feed_source(parts, source, feeding.feed, report, clock)


async def feed_source(
    parts: Parts, source: Source, feed: str, report: Report | None = None, clock: Clock | None = None
) -> Summary:
    """Raises UnreadableSource."""
    clock = clock or SystemClock()
    return await ingest(
        source,
        transport=parts.transport,
        blobs=parts.blobs,
        tenant=parts.config.tenant,
        feed=feed,
        clock=clock,
        progress=report,
        settings=IngestSettings(inline_limit_bytes=parts.config.worker.inline_limit_bytes),
    )


async def feed_all(parts: Parts, wanted: Sequence[IngestJob], console: Console) -> list[Summary]:
    """All side by side; the first that cannot be read ends the others after the write that has begun."""
    return await shown([(entry.feed, partial(feed_one, parts, entry)) for entry in wanted], console)


async def shown(
    jobs: Sequence[tuple[str, Callable[[Report], Coroutine[Any, Any, Summary]]]], console: Console
) -> list[Summary]:
    """Run jobs (a feed's name, and what reports how far it is) side by side with a progress bar each."""
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", style="cyan"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="yellow"),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(job(_reporter(bars, feed))) for feed, job in jobs]
        except* Exception as failed:
            raise failed.exceptions[0] from None
    return [task.result() for task in running]


def _reporter(bars: Bars, feed: str) -> Callable[[Progress], None]:
    task = bars.add_task(feed, total=None, rate="", note="")

    def report(progress: Progress) -> None:
        elapsed = bars.tasks[_place(bars, task)].elapsed or 0.0
        rate = f"{progress.done / elapsed:.0f}/s" if elapsed > 0.5 else ""
        note = f"waits for {progress.waiting_for}" if progress.waiting_for else ""
        bars.update(task, completed=progress.done, total=progress.total, rate=rate, note=note)

    return report


def _place(bars: Bars, task: TaskID) -> int:
    return next(place for place, entry in enumerate(bars.tasks) if entry.id == task)


def told(feed: str, summary: Summary) -> list[str]:
    """One line for people about a source that is done, and one per refused file."""
    parts = [f"{summary.accepted} accepted"]
    parts += [f"{summary.repeated} were already there"] if summary.repeated else []
    parts += [f"[yellow]{summary.refused} refused[/]"] if summary.refused else []
    return [
        f"[bold]{feed}[/]: {', '.join(parts)}",
        *(f"  [yellow]✗[/] {escape(refusal.message)} ({refusal.reason})" for refusal in summary.refusals),
    ]
