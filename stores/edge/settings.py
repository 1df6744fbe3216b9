"""Settings of the embedded index: its process reads them when it starts, its clients when they are made."""

from __future__ import annotations

from msgspec import Struct


class EdgeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    idle_seconds: float = 30.0
    """The index process ends after this time without a connection."""
    open_seconds: float = 100.0
    """A shard that takes longer to open is damaged: 200,000 points take some seconds."""
    flush_seconds: float = 5.0
    """The interval of flushes that no client requests: it bounds the write-ahead log."""
    optimize_points: int = 50_000
    """Unindexed points from which an optimization is worth its processor time (or a fifth of those indexed).

    Below it a search compares with every point: exact, and 5 ms for 50,000 points of 512 numbers.
    """
    quiet_points_per_second: float = 400.0
    """An optimization begins at a write rate below this, because what is written meanwhile is written twice."""
    purge_seconds: float = 60.0
    """After this time from a deletion, a rebuild begins that leaves no byte of the deleted points in the folder."""
    purge_share: float = 0.1
    """The share of the time that such rebuilds take at most: a large collection waits longer, up to ten minutes."""
    recommended_points: int = 200_000
    """Above it a warning recommends a server: up to here Edge answers in tens of milliseconds without optimization."""
    call_timeout_seconds: float = 60.0
    """A client's call fails with StoreUnavailable after this time without an answer."""
