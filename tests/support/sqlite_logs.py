"""Logs in a file on clocks that a test sets."""

from __future__ import annotations

from pathlib import Path

from streams.sqlite.transport import LogSettings, SqliteTransport


class Clock:
    """Seconds that a test sets."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Logs:
    """Opens logs and closes them afterwards."""

    def __init__(self, path: Path, boot: Clock, wall: Clock) -> None:
        self.path, self.boot, self.wall = path, boot, wall
        self.opened: list[SqliteTransport] = []

    def wait(self, seconds: float) -> None:
        """Time passes on all clocks."""
        self.boot.seconds += seconds
        self.wall.seconds += seconds

    async def open(self, **settings: float) -> SqliteTransport:
        log_settings = LogSettings(**settings)  # type: ignore[arg-type]
        transport = SqliteTransport(self.path, log_settings, boot=self.boot, wall=self.wall)
        await transport.open()
        self.opened.append(transport)
        return transport

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()
