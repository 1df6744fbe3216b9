"""Progress on a terminal: a bar for each ingest, and a status line while something is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from sightline.terminal.console import quoted
from streams.sources.ingest_counts import Progress, Report, Summary

STATUS_SECONDS = 0.5
COUNTED = 64
"""Counts between two updates of a line."""
WAIT_LINE_SECONDS = 60.0
RATE_AFTER_SECONDS = 0.5
"""An average over less time says nothing."""
IngestRun = Callable[[Report], Coroutine[Any, Any, Summary]]


async def with_bars(runs: Sequence[tuple[str, IngestRun]], console: Console) -> list[Summary | Exception]:
    """Run ingests side by side, each with a bar under its feed's name; summaries or errors in the same order.

    An error of one does not end the others.
    """
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
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_outcome(run, _reporter(bars, name))) for name, run in runs]
    return [task.result() for task in tasks]


async def _outcome(run: IngestRun, report: Report) -> Summary | Exception:
    try:
        return await run(report)
    except Exception as error:
        return error


def _reporter(bars: Bars, name: str) -> Report:
    bar = bars.add_task(name, total=None, rate="", note="")
    lines = None if bars.console.is_terminal else WaitLines(name, bars.console)

    def report(progress: Progress) -> None:
        if lines is not None:
            lines(progress)
        seconds = _elapsed_seconds(bars, bar)
        rate = f"{progress.done / seconds:.0f}/s" if seconds > RATE_AFTER_SECONDS else ""
        note = f"waiting for {quoted(progress.waiting_for)}; trying again" if progress.waiting_for else ""
        bars.update(bar, completed=progress.done, total=progress.total, rate=rate, note=note)

    return report


class WaitLines:
    """Where there are no bars: a line when a wait begins, another every `WAIT_LINE_SECONDS`, and one when it ends."""

    def __init__(self, name: str, console: Console, seconds: Callable[[], float] = time.monotonic) -> None:
        self._name, self._console, self._seconds = name, console, seconds
        self._began: float | None = None
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._seconds()
        if not progress.waiting_for:
            if self._began is not None:
                self._print(f"goes on after {now - self._began:.0f} s")
            self._began = None
        elif self._began is None or now - self._last >= WAIT_LINE_SECONDS:
            self._began = now if self._began is None else self._began
            self._last = now
            waited = f" for {now - self._began:.0f} s" if now > self._began else ""
            self._print(f"waiting{waited} for {progress.waiting_for}; trying again, Ctrl-C ends it")

    def _print(self, text: str) -> None:
        self._console.print(f"[yellow]{quoted(self._name)}: {quoted(text)}[/]", markup=True, soft_wrap=True)


def _elapsed_seconds(bars: Bars, bar: TaskID) -> float:
    return next(task.elapsed or 0.0 for task in bars.tasks if task.id == bar)


class CountLine:
    """A status line that names what is read or done, and how much of it so far; silent where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._status = console.status("")

    def __enter__(self) -> CountLine:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, what: str, count: int) -> None:
        if count % COUNTED == 0:
            self._status.update(f"{what}: {count}")

    def of(self, what: str, done: int, total: int) -> None:
        self._status.update(f"{what}: {done} of {total}")


async def with_status(
    work: Coroutine[Any, Any, None], describe: Callable[[], Awaitable[str]], console: Console
) -> None:
    """Await `work`; meanwhile the terminal shows what `describe` returns."""
    with console.status("") as status:
        task = asyncio.create_task(work)
        try:
            while not task.done():
                status.update(await describe())
                await asyncio.wait([task], timeout=STATUS_SECONDS)
            await task
        finally:
            task.cancel()
