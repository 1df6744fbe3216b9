"""Counts observed events by feed, window and label. Pure: knows neither Faust nor a broker, only a table.

A crash may lose the newest writes to the table, but only from the end: all earlier writes remain. So each step leaves a
state from which the next run can continue, and an event that is delivered again is recognized by its id.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

from schemas.events import Observed
from streams.analytics.settings import AnalyticsSettings
from streams.analytics.table_values import (
    Counts,
    FeedState,
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
    """Keeps no state outside `table`, so another process may take over the table at any time.

    Only reads, sets and deletes keys: Faust's tables log nothing else.
    """

    table: Table
    settings: AnalyticsSettings

    def observe(self, observed: Observed, ce_id: str) -> bool:
        """Count one event. Returns False if it was counted before or its window has closed."""
        key, published = feed_key(observed.tenant, observed.feed), observed.published.timestamp()
        feed, start = read_feed(self.table.get(key)), self._start(published)
        if self._is_over(start, feed.newest):
            feed.late += observed.count
            self.table[key] = encode(feed)
            return False
        event = identity(ce_id)
        if any(part.contains(event) for window in feed.open for part in self.slices(key, window)):
            return False
        self._update_appearance(feed, observed, published)
        if start not in feed.open:
            feed.open.append(start)
        self.table[key] = encode(feed)
        self._count(key, start, observed, event)
        self._close(key, feed)
        return True

    def slices(self, key: bytes, start: int) -> Iterator[Slice]:
        number = 0
        while (value := self.table.get(slice_key(key, start, number))) is not None:
            yield read_slice(value)
            number += 1

    def counts(self, key: bytes, start: int) -> Counts:
        """The counts of a window, open or closed."""
        closed = self.table.get(window_key(key, start))
        return read_counts(closed) if closed is not None else total(part.counts for part in self.slices(key, start))

    def _start(self, seconds: float) -> int:
        return int(seconds // self.settings.window_seconds) * self.settings.window_seconds

    def _is_over(self, start: int, newest: float) -> bool:
        return start + self.settings.window_seconds + self.settings.grace_seconds <= newest

    def _count(self, key: bytes, start: int, observed: Observed, event: bytes) -> None:
        parts = list(self.slices(key, start))
        number = next((index for index, part in enumerate(parts) if not part.is_full), len(parts))
        part = parts[number] if number < len(parts) else Slice(Counts())
        part.counts.add(counts_of(observed))
        part.ids += event
        self.table[slice_key(key, start, number)] = encode(part)

    def _close(self, key: bytes, feed: FeedState) -> None:
        """Merge the slices of each window that is over: write one value, delete the slices, then update the feed."""
        over = [start for start in feed.open if self._is_over(start, feed.newest)]
        for start in over:
            if window_key(key, start) not in self.table:
                self.table[window_key(key, start)] = encode(self.counts(key, start))
            for number in reversed(range(sum(1 for _ in self.slices(key, start)))):
                del self.table[slice_key(key, start, number)]
        expired = [start for start in feed.closed if start < feed.newest - 3600 * self.settings.kept_hours]
        for window in [window_key(key, start) for start in expired]:
            if window in self.table:
                del self.table[window]
        if over or expired:
            feed.open = [start for start in feed.open if start not in over]
            feed.closed = sorted(set(feed.closed) - set(expired) | set(over))
            self.table[key] = encode(feed)

    def _update_appearance(self, feed: FeedState, observed: Observed, published: float) -> None:
        """Luminance and difference of the feed's newest measured picture."""
        if published < feed.newest:
            return
        feed.newest = published
        if observed.luminance is not None:
            feed.luminance = observed.luminance
            feed.dark_since = _since(feed.dark_since, published, holds=observed.luminance < self.settings.dark_below)
        if observed.difference is not None:
            feed.difference = observed.difference
            feed.frozen_since = _since(
                feed.frozen_since, published, holds=observed.difference < self.settings.frozen_below
            )


def counts_of(observed: Observed) -> Counts:
    """The counts of one event; a shed record stands for many frames."""
    if observed.state == "shed":
        return Counts(shed=observed.count)
    if observed.state == "dead":
        return Counts(dead=observed.count, reasons={observed.reason: observed.count})
    return Counts(frames=observed.count, labels=dict(observed.labels))


def _since(since: float | None, now: float, *, holds: bool) -> float | None:
    return (now if since is None else since) if holds else None
