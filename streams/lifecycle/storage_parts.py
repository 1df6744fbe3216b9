"""What log, pictures and index take, against their limits and the disk's free space."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stores.edge.disk_use import IndexUse, size_of
from stores.edge.disk_use import index_use as use_of

NEAR_SHARE = 0.85
"""Of a limit: from here on it is told."""
SOON_DAYS = 7.0
"""A disk that will be full within this time is told before it is full."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the storage; `name` is log, pictures, index or disk."""

    name: str
    used_bytes: int
    limit_bytes: int | None = None
    """None: there is none."""
    day_bytes: float | None = None
    """What a day adds, by the last whole one; None: not known."""
    reserved_bytes: int = 0
    """What the part takes beside that for a while, when the index rebuilds itself: the limit counts it."""

    @property
    def share(self) -> float | None:
        return None if self.limit_bytes is None else (self.used_bytes + self.reserved_bytes) / self.limit_bytes

    @property
    def days_left(self) -> float | None:
        """Until the limit, at the present rate; None where that is not known or never."""
        if self.limit_bytes is None or not self.day_bytes:
            return None
        return max(0.0, (self.limit_bytes - self.used_bytes - self.reserved_bytes) / self.day_bytes)

    @property
    def is_near(self) -> bool:
        return self.share is not None and self.share >= NEAR_SHARE


@dataclass(frozen=True, slots=True)
class StorageFolders:
    """Where the parts lie on this machine; None: elsewhere."""

    log: Path | None = None
    """The file of the embedded log."""
    index: Path | None = None
    pictures: Path | None = None


def disk_part(folders: StorageFolders, day_bytes: float | None) -> Part | None:
    """The disk of the pictures, else of the log; None where nothing lies on this machine."""
    for path in (folders.pictures, folders.log, folders.index):
        existing = next((each for each in (path, *path.parents) if each.exists()), None) if path else None
        if existing is not None:
            usage = shutil.disk_usage(existing)
            return Part("disk", usage.total - usage.free, usage.total, day_bytes)
    return None


async def log_bytes(folders: StorageFolders) -> int | None:
    """Of the embedded log with its write-ahead log."""
    if folders.log is None:
        return None
    return sum(size_of(folders.log.with_name(folders.log.name + suffix)) for suffix in ("", "-wal"))


async def index_use(folders: StorageFolders) -> IndexUse | None:
    return None if folders.index is None else await asyncio.to_thread(use_of, folders.index)


def warnings(parts: Sequence[Part]) -> list[str]:
    """A line for each part that is near its limit, and for a disk that will be full soon."""
    lines = []
    for part in parts:
        soon = part.days_left is not None and part.days_left <= SOON_DAYS
        if part.name == "disk" and (part.is_near or soon):
            lines.append(f"the disk is {_percent(part)} full{_in_days(part)}: free space, or set limits in [storage]")
        elif part.is_near:
            kept = " or kept free for a rebuild" if part.reserved_bytes else ""
            lines.append(f"{part.name}: {_percent(part)} of the limit in [storage] is used{kept}{_in_days(part)}")
    return lines


def _percent(part: Part) -> str:
    return f"{100 * (part.share or 0):.0f}%"


def _in_days(part: Part) -> str:
    return "" if part.days_left is None else f", at the present rate full in {part.days_left:.1f} days"
