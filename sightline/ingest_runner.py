"""Ingests several sources side by side with a progress bar each, and summarizes the results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.markup import escape

from schemas.identity import check_name
from sightline.terminal.options import FAILURES, CommandError, message
from sightline.terminal.progress import with_bars
from sightline.terminal.render import counted
from sightline.wiring.parts import Parts
from streams.clock import Clock, SystemClock
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.ingest_counts import Report, Summary
from streams.sources.playback import Playback
from streams.sources.source import Source
from streams.sources.source_choice import RemoteOptions, choose_source, feed_name


@dataclass(frozen=True, slots=True)
class IngestJob:
    """One source: what to read, under which feed's name, how to play it.

    An object store is listed again every `follow_seconds`; None: once.
    """

    spec: str
    feed: str
    playback: Playback
    follow_seconds: float | None = None


def ingest_jobs(
    specs: Sequence[str], feed: str, playback: Playback, follow_seconds: float | None = None
) -> list[IngestJob]:
    """A job for each source; without `feed`, feeds are named after the sources. Raises ValueError for a wrong name."""
    feeds = [check_name("feed", feed or feed_name(spec)) for spec in specs]
    return [IngestJob(spec, name, playback, follow_seconds) for spec, name in zip(specs, feeds, strict=True)]


async def run_job(parts: Parts, job: IngestJob, report: Report | None = None, clock: Clock | None = None) -> Summary:
    """Raises UnreadableSource."""
    clock = clock or SystemClock()
    remote = RemoteOptions(fetch=parts.config.fetch, follow_seconds=job.follow_seconds)
    source = await asyncio.to_thread(choose_source, job.spec, job.playback, clock, remote)
    return await ingest_source(parts, source, job.feed, report, clock)


async def ingest_source(
    parts: Parts, source: Source, feed: str, report: Report | None = None, clock: Clock | None = None
) -> Summary:
    """Raises UnreadableSource."""
    return await ingest(
        source,
        transport=parts.transport,
        blobs=parts.blobs,
        tenant=parts.config.tenant,
        feed=feed,
        clock=clock or SystemClock(),
        progress=report,
        settings=IngestSettings(inline_limit_bytes=parts.config.worker.inline_limit_bytes, zone=parts.config.zone),
    )


async def run_jobs(parts: Parts, jobs: Sequence[IngestJob], console: Console) -> list[Summary | Exception]:
    """All jobs side by side, with the summary or the error of each: an error of one source does not end the others."""
    return await with_bars([(job.feed, partial(run_job, parts, job)) for job in jobs], console)


def raise_errors(results: Sequence[Summary | Exception]) -> None:
    """Raise the errors of the sources that could not be read: a line for each, or the first that is a fault of ours."""
    errors = [result for result in results if isinstance(result, Exception)]
    for error in errors:
        if not isinstance(error, FAILURES):
            raise error
    if errors:
        raise CommandError("\n".join(dict.fromkeys(map(message, errors))))


def summary_lines(feed: str, summary: Summary) -> list[str]:
    """One line of rich markup for a source that is done, and one for each refused file that the summary names."""
    counts = [f"{counted(summary.accepted, 'frame')} accepted"]
    counts += [f"{summary.repeated} ingested before"] if summary.repeated else []
    counts += [f"{summary.doubled} given more than once"] if summary.doubled else []
    counts += [f"[yellow]{counted(summary.damaged, 'damaged frame')} dropped[/]"] if summary.damaged else []
    counts += [f"[yellow]{counted(summary.refused, 'file')} refused[/]"] if summary.refused else []
    return [
        f"[bold]{feed}[/]: {', '.join(counts)}",
        *(f"  [yellow]✗[/] {escape(refusal.message)} ({refusal.reason})" for refusal in summary.refusals),
    ]
