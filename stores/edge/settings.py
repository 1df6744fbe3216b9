"""Settings of the embedded index: its process takes them at its start, its clients at theirs."""

from __future__ import annotations

from msgspec import Struct


class EdgeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    idle_seconds: float = 30.0
    """The index process ends when nobody has been connected for so long."""
    flush_seconds: float = 5.0
    """What nobody asked to flush is flushed after so long: it bounds the write-ahead log."""
    optimise_points: int = 50_000
    """Unindexed points from which an optimisation is worth its processor time (or a fifth of those indexed).

    Below it a search compares with every point: exact, and 5 ms for 50,000 points of 512 numbers.
    """
    quiet_points_per_second: float = 400.0
    """It waits until writing is slower than this, because what is written meanwhile has to be written again."""
    usable_points: int = 200_000
    """A collection with more is told to move to a server: so far Edge answers in tens of milliseconds unoptimised."""
    patience_seconds: float = 60.0
    """A client's call gives up (StoreUnavailable) after so long without an answer."""
