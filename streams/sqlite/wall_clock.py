"""Whether the wall clock can be believed: it is compared with the time since boot, from one look to the next.

A clock that jumps is wrong before the jump or after it. Until it has run evenly for a while, or is back where it was,
no record is dropped for its age. The log keeps the last believed reading, so that short processes notice a jump too.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from streams.sqlite.process_identity import UNKNOWN_BOOT, boot_id

TOLERANCE_SECONDS = 300.0
"""Smaller corrections of the clock are no jump."""

OFF_SECONDS = 7 * 86_400.0
"""A machine that was off for longer has its clock checked: an empty battery looks the same."""

SAVE_SECONDS = 30.0
"""A reading is written again after this long: a short command need not write."""


COLUMNS = "is_trusted, wall, boot, boot_id"


class Reading(NamedTuple):
    wall: float
    """Seconds since the epoch."""
    boot: float
    """Seconds since boot."""
    boot_id: str

    def leads_to(self, later: Reading) -> bool:
        """Whether the clock of this reading, running evenly, shows the later one."""
        passed = later.wall - self.wall
        if self.boot_id == later.boot_id != UNKNOWN_BOOT:
            return abs(passed - (later.boot - self.boot)) <= TOLERANCE_SECONDS
        return -TOLERANCE_SECONDS <= passed <= OFF_SECONDS


@dataclass(frozen=True, slots=True)
class ClockState:
    """`trusted` is the last believed reading, `doubtful` the first after a jump; `jump_seconds`: this one jumped."""

    trusted: Reading | None
    doubtful: Reading | None = None
    jump_seconds: float = 0.0

    @property
    def is_trusted(self) -> bool:
        return self.doubtful is None

    def next(self, now: Reading, hold_seconds: float) -> ClockState:
        """The state after one more reading; a clock is believed again after `hold_seconds` of even running."""
        if self.trusted is not None and self.trusted.leads_to(now):
            return ClockState(now)
        if hold_seconds <= 0:
            return ClockState(now)
        if self.doubtful is None or not self.doubtful.leads_to(now):
            return ClockState(self.trusted, now, self._jump(now))
        if self.doubtful.boot_id != now.boot_id:
            return ClockState(self.trusted, now)  # the time that it has run evenly is not known: it counts from here
        if now.boot - self.doubtful.boot >= hold_seconds:
            return ClockState(now)
        return ClockState(self.trusted, self.doubtful)

    def _jump(self, now: Reading) -> float:
        if self.trusted is None:
            return 0.0
        ran = now.boot - self.trusted.boot if self.trusted.boot_id == now.boot_id else 0.0
        return now.wall - self.trusted.wall - ran


def load(connection: sqlite3.Connection, now: Reading) -> ClockState:
    """What the log has; a log without records believes the first reading."""
    rows = _stored(connection)
    if not rows and not connection.execute("SELECT 1 FROM partitions WHERE next_offset > 0").fetchone():
        return ClockState(now)
    return ClockState(rows.get(1), rows.get(0))


def save(connection: sqlite3.Connection, state: ClockState) -> None:
    connection.execute("DELETE FROM clock")
    for is_trusted, reading in ((1, state.trusted), (0, state.doubtful)):
        if reading is not None:
            connection.execute("INSERT INTO clock VALUES (?, ?, ?, ?)", (is_trusted, *reading))


def is_saved(connection: sqlite3.Connection, state: ClockState) -> bool:
    """Whether the log has this state, or one that says the same."""
    stored = _stored(connection)
    if stored.get(0) != state.doubtful or (state.trusted is None) != (1 not in stored):
        return False
    if state.trusted is None:
        return True
    saved = stored[1]
    return saved.boot_id == state.trusted.boot_id and state.trusted.boot - saved.boot < SAVE_SECONDS


def _stored(connection: sqlite3.Connection) -> dict[int, Reading]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM clock")  # noqa: S608 - our own columns
    return {is_trusted: Reading(*reading) for is_trusted, *reading in rows}


def read(wall: float, boot: float) -> Reading:
    return Reading(wall, boot, boot_id())
