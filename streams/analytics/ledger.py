"""Counts observed events by feed, window and label. Pure: knows neither Faust nor a broker, only a table.

The table may lose its newest writes in a crash, but only from the end: whatever was written before still stands. So
each step leaves a state that the next run can go on from, and an event that comes again is known by its id.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

from schemas.events import Observed
from streams.analytics.settings import AnalyticsSettings
from streams.analytics.table_values import (
    Counts,
    Feed,
    Slice,
    encode,
    feed_key,
    identity,
    read_counts,
    read_feed,
    read_slice,
    slice_key,
    total,
    window_key,
)

Table = MutableMapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Ledger:
    """`table` is written through; nothing is kept beside it, so it may change owners at any time.

    Only reading, setting and deleting of a key are used: Faust's tables log nothing else.
    """

    table: Table
    settings: AnalyticsSettings

    def observe(self, observed: Observed, ce_id: str) -> bool:
        """Count one event. False: it was counted already, or its window has closed."""
        key, at = feed_key(observed.tenant, observed.feed), observed.published.timestamp()
        feed, start = read_feed(self.table.get(key)), self._start(at)
        if self._is_over(start, feed.newest):
            feed.late += observed.count
            self.table[key] = encode(feed)
            return False
        name = identity(ce_id)
        if any(part.knows(name) for window in feed.open for part in self.slices(key, window)):
            return False
        self._look(feed, observed, at)
        if start not in feed.open:
            feed.open.append(start)
        self.table[key] = encode(feed)
        self._count(key, start, observed, name)
        self._close(key, feed)
        return True

    def slices(self, key: bytes, start: int) -> Iterator[Slice]:
        number = 0
        while (value := self.table.get(slice_key(key, start, number))) is not None:
            yield read_slice(value)
            number += 1

    def counts(self, key: bytes, start: int) -> Counts:
        """A window's, whether it is open or closed."""
        closed = self.table.get(window_key(key, start))
        return read_counts(closed) if closed is not None else total(part.counts for part in self.slices(key, start))

    def _start(self, at: float) -> int:
        return int(at // self.settings.window_seconds) * self.settings.window_seconds

    def _is_over(self, start: int, newest: float) -> bool:
        return start + self.settings.window_seconds + self.settings.grace_seconds <= newest

    def _count(self, key: bytes, start: int, observed: Observed, name: bytes) -> None:
        parts = list(self.slices(key, start))
        number = next((at for at, part in enumerate(parts) if not part.is_full), len(parts))
        part = parts[number] if number < len(parts) else Slice(Counts())
        part.counts.add(counts_of(observed))
        part.ids += name
        self.table[slice_key(key, start, number)] = encode(part)

    def _close(self, key: bytes, feed: Feed) -> None:
        """What is over becomes one value; only when that is written its slices go, and only then the feed's note."""
        over = [start for start in feed.open if self._is_over(start, feed.newest)]
        for start in over:
            if window_key(key, start) not in self.table:
                self.table[window_key(key, start)] = encode(self.counts(key, start))
            for number in reversed(range(sum(1 for _ in self.slices(key, start)))):
                del self.table[slice_key(key, start, number)]
        forgotten = [start for start in feed.closed if start < feed.newest - 3600 * self.settings.kept_hours]
        for name in [window_key(key, start) for start in forgotten]:
            if name in self.table:
                del self.table[name]
        if over or forgotten:
            feed.open = [start for start in feed.open if start not in over]
            feed.closed = sorted(set(feed.closed) - set(forgotten) | set(over))
            self.table[key] = encode(feed)

    def _look(self, feed: Feed, observed: Observed, at: float) -> None:
        """What the feed looks like, by its newest picture that was measured."""
        if at < feed.newest:
            return
        feed.newest = at
        if observed.luminance is not None:
            feed.luminance = observed.luminance
            feed.dark_since = _since(feed.dark_since, at, holds=observed.luminance < self.settings.dark_below)
        if observed.difference is not None:
            feed.difference = observed.difference
            feed.frozen_since = _since(feed.frozen_since, at, holds=observed.difference < self.settings.frozen_below)


def counts_of(observed: Observed) -> Counts:
    """One event's own counts; a shed record stands for many frames."""
    if observed.state == "shed":
        return Counts(shed=observed.count)
    if observed.state == "dead":
        return Counts(dead=observed.count, reasons={observed.reason: observed.count})
    return Counts(frames=observed.count, labels=dict(observed.labels))


def _since(since: float | None, at: float, *, holds: bool) -> float | None:
    return (at if since is None else since) if holds else None
