"""Frames in flight: small, and different where it matters."""

from __future__ import annotations

from processors.frame import Frame, thaw
from schemas.events import Kind
from streams.plan import GIVEN
from streams.transport import Partition, Record
from streams.worker.in_flight import InFlightFrame
from streams.worker.route import Route
from tests.support.events import frame_event


def frame(feed: str = "lobby", number: int = 0, kind: Kind = "frame") -> Frame:
    """A frame without its original."""
    return thaw(frame_event(f"test:{number}", b"", feed=feed, kind=kind, inline=False))


def in_flight(
    feed: str = "lobby", offset: int = 0, *, size_bytes: int = 1, ready_at: float = 0.0, partition: int = 0
) -> InFlightFrame:
    record = Record(Partition("frames.raw", partition), offset, 1, b"", b"", {}, 0.0)
    route = Route((), GIVEN, needs_original=False)
    return InFlightFrame(
        record=record,
        frame=frame(feed, offset),
        route=route,
        size_bytes=size_bytes,
        ready_at=ready_at,
        fields=GIVEN,
    )
