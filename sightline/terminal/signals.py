"""Ctrl-C and SIGTERM, answered within two seconds whatever the process does.

The operating system's handler writes each signal into a pipe, which a thread of our own reads: Python's handlers would
wait until the main thread leaves a model's native code. Imports only the standard library, because Ctrl-C must work
while the rest is imported.

What a signal does depends on what runs:
- inside `stopping` it requests a stop, and the second one ends the process at once;
- inside `cancelling` it cancels the command's task, whose cleanup has GRACE_SECONDS;
- otherwise it ends the process.
In the last two cases one line says what was interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 1.2
"""From Ctrl-C to the end of the process at the latest, where nothing has to be finished."""
SHOW_CURSOR = "\x1b[?25h"
Activity = str | Callable[[], str]


@dataclass(slots=True)
class _State:
    """Of this process; signals have no other owner."""

    installed: bool = False
    activities: list[Activity] = field(default_factory=list)
    """What the process does, from the outermost to the innermost."""
    stop: Callable[[], None] | None = None
    cancel: Callable[[], None] | None = None
    within: float | None = None
    """Seconds that `stop` has after Ctrl-C; None: as long as it takes."""
    received: int = 0
    """The first signal; 0: none yet."""
    interrupted: Activity = ""
    """What the process did when the first signal came."""
    deadline: float | None = None
    """When the process ends whatever it does (monotonic)."""
    status: int = 0
    folders: list[Path] = field(default_factory=list)
    """Temporary folders to remove."""
    as_json: bool = False
    """Whether a line on standard error is JSON."""


_state = _State()


def install() -> Callable[[], None]:
    """Answer signals from now on, in the main thread; returns what undoes it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, _ignore) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(reading,), name="signals", daemon=True).start()
    _state.installed = True

    def undo() -> None:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)  # ends the thread
        _reset()

    return undo


@contextmanager
def installed() -> Iterator[None]:
    """Answer signals while inside, if they are not answered already."""
    if _state.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    undo = install()
    try:
        yield
    finally:
        undo()


@contextmanager
def doing(activity: Activity) -> Iterator[None]:
    """Name what the process does, for the line that says what was interrupted: `loading models`.

    A function is called when the line is written.
    """
    _state.activities.append(activity)
    try:
        yield
    finally:
        _state.activities.remove(activity)


@contextmanager
def stopping(stop: Callable[[], None], *, within: float | None = None, note: str = "") -> Iterator[None]:
    """While inside, the first signal prints `note` and calls `stop` in the event loop; the second exits at once.

    With `within`, the process ends when the command's task has ended, without the interpreter's own end, and that many
    seconds after Ctrl-C even if what `stop` began has not ended; its exit status is then 0. SIGTERM has no such limit:
    its sender has one.
    """
    loop, outer = asyncio.get_running_loop(), (_state.stop, _state.within)

    def request() -> None:
        if note:
            print(_line(note, "info"), file=sys.stderr, flush=True)
        stop()

    with installed():
        _state.stop, _state.within = lambda: _call(loop, request), within
        try:
            yield
        finally:
            _state.stop, _state.within = outer


@contextmanager
def cancelling() -> Iterator[None]:
    """While inside, a signal cancels the running task. The process ends when the task has cleaned up, here."""
    loop, task, outer = asyncio.get_running_loop(), asyncio.current_task(), _state.cancel
    if not _state.installed or task is None:
        yield
        return
    _state.cancel = lambda: _call(loop, task.cancel)
    try:
        yield
    finally:
        _state.cancel = outer
        if _state.interrupted:  # without the interpreter's own end, which waits for the threads of models that load
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            _leave()


@contextmanager
def removing(folder: Path) -> Iterator[None]:
    """Remove a temporary folder at an end that skips the cleanup, too."""
    _state.folders.append(folder)
    try:
        yield
    finally:
        _state.folders.remove(folder)


def _listen(reading: int) -> None:
    """The thread. Ends when the pipe's other end is closed."""
    while True:
        timeout = None if _state.deadline is None else max(_state.deadline - time.monotonic(), 0.0)
        ready, _, _ = select.select([reading], [], [], timeout)
        if not ready:
            _leave()
        if not (numbers := os.read(reading, 64)):
            os.close(reading)
            return
        for number in numbers:
            if number in SIGNALS:
                _receive(number)


def _receive(number: int) -> None:
    if _state.received:
        os._exit(128 + number)
    _state.received = number
    if _state.stop is not None:
        if _state.within is not None:
            _state.interrupted = _activity()
            if number == signal.SIGINT:
                _state.deadline = time.monotonic() + _state.within
        _state.stop()
        return
    _state.interrupted = _activity()
    _state.status = 128 + number
    if _state.cancel is None:
        _leave()
    _state.deadline = time.monotonic() + GRACE_SECONDS
    _state.cancel()


def write_json(as_json: bool) -> None:  # noqa: FBT001 - what it sets
    """Write lines on standard error as those of the log, if that is JSON."""
    _state.as_json = as_json


def _activity() -> Activity:
    return _state.activities[-1] if _state.activities else "starting"


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)


def _leave() -> NoReturn:
    """End the process: say what was interrupted, remove temporary folders, run nothing else."""
    for folder in (*_state.folders, *_folders_of_libraries()):
        shutil.rmtree(folder, ignore_errors=True)
    _say_interrupted()
    os._exit(_state.status)


def _folders_of_libraries() -> list[Path]:
    """What `processors.models.yolo` removes at the interpreter's own end."""
    settings = Path(os.environ.get("YOLO_CONFIG_DIR", ""))
    return [settings] if settings.name.startswith("sightline-ultralytics-") else []


def _say_interrupted() -> None:
    """Written to the descriptor: another thread may hold the locks of the console and of `sys.stderr`."""
    on_terminal = os.isatty(2)
    what, level = ("✗ interrupted", "error") if _state.status else ("stopped", "info")
    activity = _state.interrupted if isinstance(_state.interrupted, str) else _state.interrupted()
    line = _line(f"{what} while {activity}", level) + "\n" if activity else ""
    text = f"{SHOW_CURSOR}\n{line}" if on_terminal else line
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    with suppress(OSError):  # standard error may be closed
        os.write(2, text.encode(encoding, "replace"))


def _line(text: str, level: str) -> str:
    """Without its mark and with the fields of the log, where that is JSON."""
    if not _state.as_json:
        return text
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"event": text.removeprefix("✗ "), "level": level, "timestamp": moment})


def _ignore(number: int, frame: object) -> None:
    """Python's handler: with one, the operating system's handler writes to the pipe."""


def _reset() -> None:
    global _state
    _state = _State(activities=_state.activities, folders=_state.folders, as_json=_state.as_json)


def is_own_process() -> bool:
    """Whether the process is this command's alone; else, as in a test, it is not ours to end."""
    return _state.installed


def leave_hung_stages(grace_seconds: float = 2.0, status: int = 1) -> None:
    """End the process if a stage still hangs in its lane after the drain: the interpreter would wait without end.

    What the stage was computing is not committed, so nothing is lost.
    """
    lanes = [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]
    for thread in lanes:
        thread.join(grace_seconds)
    if any(thread.is_alive() for thread in lanes):
        os._exit(status)
