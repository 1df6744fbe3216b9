"""Ingests several sources side by side with a progress bar each, and summarizes the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from rich.console import Console

from schemas.identity import check_name
from sightline.terminal.console import quoted
from sightline.terminal.options import FAILURES, CommandError, message
from sightline.terminal.progress import with_bars
from sightline.terminal.render import counted
from sightline.wiring.parts import Parts
from streams.clock import Clock, SystemClock
from streams.lifecycle.accepted_frames import PicturesOfOneCommand
from streams.sources.feed_names import feed_name
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.ingest_counts import Progress, Report, Summary
from streams.sources.playback import INCOMPLETE, Playback
from streams.sources.source import Refusal, Source
from streams.sources.source_choice import RemoteOptions, choose_source

OnRefusal: TypeAlias = Callable[[str, Refusal], None]
"""Gets the feed's name and the refusal."""
NAMED_FEEDS = 3


@dataclass(frozen=True, slots=True)
class IngestJob:
    """One source: what to read, under which feed's name, how to play it.

    An object store is listed again every `follow_seconds`; None: once. Files that match `exclude` are left out.
    `shared` is what all jobs of a command share.
    """

    spec: str
    feed: str
    playback: Playback
    follow_seconds: float | None = None
    exclude: tuple[str, ...] = ()
    shared: PicturesOfOneCommand | None = None


def ingest_jobs(
    specs: Sequence[str],
    feed: str,
    playback: Playback,
    follow_seconds: float | None = None,
    exclude: Sequence[str] = (),
) -> list[IngestJob]:
    """A job for each source; without `feed`, feeds are named after the sources. Raises ValueError for a wrong name."""
    feeds = [check_name("feed", feed or feed_name(spec)) for spec in specs]
    shared = PicturesOfOneCommand(of_all_feeds=not feed)
    return [
        IngestJob(spec, name, playback, follow_seconds, tuple(exclude), shared)
        for spec, name in zip(specs, feeds, strict=True)
    ]


async def run_job(
    parts: Parts,
    job: IngestJob,
    report: Report | None = None,
    clock: Clock | None = None,
    refused: OnRefusal | None = None,
) -> Summary:
    """`refused` gets every refusal with the feed. Raises UnreadableSource."""
    clock = clock or SystemClock()
    remote = RemoteOptions(fetch=parts.config.fetch, follow_seconds=job.follow_seconds)
    source = await asyncio.to_thread(choose_source, job.spec, job.playback, clock, remote, job.exclude)
    on_refusal = None if refused is None else partial(refused, job.feed)
    return await ingest_source(parts, source, job.feed, report, clock, on_refusal, job.shared)


async def ingest_source(
    parts: Parts,
    source: Source,
    feed: str,
    report: Report | None = None,
    clock: Clock | None = None,
    refused: Callable[[Refusal], None] | None = None,
    shared: PicturesOfOneCommand | None = None,
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
        settings=IngestSettings(inline_limit_bytes=parts.config.inline_limit_bytes, zone=parts.config.zone),
        refused=refused,
        shared=shared,
    )


class AcceptedSoFar:
    """The counts of ingests that run, for the line that says that they were interrupted."""

    def __init__(self) -> None:
        self._latest: dict[int, Progress] = {}

    def of(self, number: int, report: Report | None) -> Report:
        """Passes on to `report`; `number` tells the ingests apart."""

        def keep(progress: Progress) -> None:
            self._latest[number] = progress
            if report is not None:
                report(progress)

        return keep

    def activity(self) -> str:
        accepted = sum(progress.accepted for progress in self._latest.values())
        repeated = sum(progress.repeated for progress in self._latest.values())
        before = f", {repeated} ingested before" if repeated else ""
        return f"ingesting: {counted(accepted, 'frame')} accepted{before}; what is accepted is kept"


async def run_jobs(
    parts: Parts,
    jobs: Sequence[IngestJob],
    console: Console,
    refused: OnRefusal | None = None,
    counts: AcceptedSoFar | None = None,
) -> list[Summary | Exception]:
    """All jobs side by side, with the summary or the error of each: an error of one source does not end the others."""
    counts = counts or AcceptedSoFar()

    def run(number: int, job: IngestJob, report: Report) -> Coroutine[Any, Any, Summary]:
        return run_job(parts, job, counts.of(number, report), refused=refused)

    return await with_bars([(job.feed, partial(run, number, job)) for number, job in enumerate(jobs)], console)


def error_lines(results: Sequence[Summary | Exception]) -> list[str]:
    """A line for each source that could not be read. Raises the first error that is a fault of ours."""
    errors = [result for result in results if isinstance(result, Exception)]
    for error in errors:
        if not isinstance(error, FAILURES):
            raise error
    return list(dict.fromkeys(map(message, errors)))


def raise_errors(results: Sequence[Summary | Exception]) -> None:
    """Raises CommandError with a line for each source that could not be read."""
    if lines := error_lines(results):
        raise CommandError("\n".join(lines))


def summary_lines(feed: str, summary: Summary) -> list[str]:
    """Rich markup: a line for a source that is done, what a person should know, and each refused file that is named."""
    lines = [f"[bold]{feed}[/]: {', '.join(_counts(summary))}"]
    lines += [f"  [yellow]![/] {quoted(note)}" for note in _notes(summary)]
    lines += [f"  [yellow]✗[/] {quoted(refusal.message)} ({refusal.reason})" for refusal in summary.refusals]
    if (further := summary.refused - len(summary.refusals)) > 0:
        lines.append(f"  [yellow]✗[/] {further} more; --refused FILE writes all of them to a file")
    return lines


def _counts(summary: Summary) -> list[str]:
    counts = [f"{counted(summary.accepted, 'frame')} accepted"]
    counts += [f"{summary.repeated} ingested before{_feeds(summary)}"] if summary.repeated else []
    counts += [f"[green]{counted(summary.restored, 'lost original')} restored[/]"] if summary.restored else []
    counts += [f"{summary.doubled} given more than once"] if summary.doubled else []
    counts += [f"[yellow]{summary.forgotten} forgotten before[/]"] if summary.forgotten else []
    counts += [f"[yellow]{counted(summary.damaged, 'damaged frame')} dropped[/]"] if summary.damaged else []
    incomplete = sum(summary.reasons.get(reason, 0) for reason in INCOMPLETE)
    counts += [f"[yellow]{counted(incomplete, 'film')} incomplete[/]"] if incomplete else []
    refused = summary.refused - incomplete
    counts += [f"[yellow]{counted(refused, 'file')} refused[/]"] if refused else []
    counts += [f"{counted(summary.left_out, 'file')} left out (hidden or excluded)"] if summary.left_out else []
    return counts


def _feeds(summary: Summary) -> str:
    """The other feeds under which pictures were ingested before."""
    feeds = sorted(summary.repeated_as, key=lambda feed: -summary.repeated_as[feed])
    more = f" and {len(feeds) - NAMED_FEEDS} more" if len(feeds) > NAMED_FEEDS else ""
    return f" (as {', '.join(feeds[:NAMED_FEEDS])}{more})" if feeds else ""


def _notes(summary: Summary) -> list[str]:
    notes = list(summary.notes)
    if summary.forgotten:
        erased = "1 picture was" if summary.forgotten == 1 else f"{summary.forgotten} pictures were"
        notes.append(f"{erased} erased by `sightline forget` and not accepted again; to accept, name another --feed")
    if summary.taken:
        older = "1 picture is" if summary.taken == 1 else f"{summary.taken} pictures are"
        notes.append(
            f"{older} older than what retention keeps ([storage]), and not accepted again; to accept, name another"
            " --feed"
        )
    if summary.from_future:
        says = (
            "1 picture says that it was"
            if summary.from_future == 1
            else f"{summary.from_future} pictures say that they were"
        )
        notes.append(f"{says} captured in the future: the time of the ingest counts; check the camera's clock and zone")
    return notes
