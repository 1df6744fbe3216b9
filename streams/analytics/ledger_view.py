"""The served view of a ledger: feeds with their health and windows with their counts, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.analytics.ledger import Ledger
from streams.analytics.table_values import Counts, FeedState, is_feed, read_feed, total
from streams.clock import utc

HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class LedgerView:
    """Reads a ledger's table while it is written: a window may lack its newest event, but never counts one twice."""

    ledger: Ledger

    def feeds(self, now: float) -> list[dict[str, Any]]:
        """Every feed with its health, last picture and counts of the last hour. `now` is Unix time."""
        return [self._feed(key, feed, now) for key, feed in self._states()]

    def windows(self, feed: str = "", label: str = "", since: float = 0.0) -> list[dict[str, Any]]:
        """Windows from `since` on, of one feed (`feed` or `tenant/feed`) or all; with `label`, only its count."""
        windows = []
        for key, state in self._states():
            name = key.decode()
            if feed in ("", name, name.partition("/")[2]):
                windows += [self._window(key, state, start, label) for start in _starts(state) if start >= since]
        return windows

    def _states(self) -> Iterator[tuple[bytes, FeedState]]:
        table = self.ledger.table
        for key in sorted(key for key in list(table) if is_feed(key)):
            yield key, read_feed(table.get(key))

    def _feed(self, key: bytes, feed: FeedState, now: float) -> dict[str, Any]:
        starts = [start for start in _starts(feed) if start >= now - HOUR_SECONDS]
        counts = total(self.ledger.counts(key, start) for start in starts)
        return {
            **_name(key),
            "health": health(feed, now, self.ledger),
            "last": _time(feed.newest),
            "luminance": feed.luminance,
            "difference": feed.difference,
            "late": feed.late,
            "last_hour": _plain(counts),
        }

    def _window(self, key: bytes, feed: FeedState, start: int, label: str) -> dict[str, Any]:
        counts = self.ledger.counts(key, start)
        if label:
            counts.labels = {name: count for name, count in counts.labels.items() if name == label}
        times = {"start": _time(start), "seconds": self.ledger.settings.window_seconds}
        return {**_name(key), **times, "open": start in feed.open, **_plain(counts)}


def health(feed: FeedState, now: float, ledger: Ledger) -> list[str]:
    """Some of `silent`, `dark`, `frozen`; empty for a healthy feed."""
    settings = ledger.settings
    silent = ["silent"] if now - feed.newest > settings.silent_seconds else []
    lasting = {"dark": feed.dark_since, "frozen": feed.frozen_since}
    return silent + [
        name for name, since in lasting.items() if since is not None and feed.newest - since >= settings.hold_seconds
    ]


def _starts(feed: FeedState) -> list[int]:
    return sorted({*feed.closed, *feed.open})


def _name(key: bytes) -> dict[str, str]:
    tenant, _, feed = key.decode().partition("/")
    return {"tenant": tenant, "feed": feed}


def _plain(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in counts.__struct_fields__}


def _time(seconds: float) -> str:
    return utc(seconds).isoformat().replace("+00:00", "Z")


def to_json(value: object) -> bytes:
    return msgspec.json.encode(value)
