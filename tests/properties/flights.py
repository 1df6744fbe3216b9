"""Frames in flight for property tests: small, and different where it matters."""

from __future__ import annotations

from datetime import UTC, datetime

from processors.frame import Frame
from schemas.events import ImageRef, Kind
from schemas.identity import frame_id
from streams.plan import GIVEN
from streams.transport import Partition, Record
from streams.worker.in_flight import InFlightFrame
from streams.worker.route import Route

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def frame(feed: str = "lobby", number: int = 0, kind: Kind = "frame") -> Frame:
    position = f"test:{number}"
    image = ImageRef(format="jpeg", sha256="", size_bytes=0)
    return Frame(
        id=frame_id("default", feed, position),
        tenant="default",
        feed=feed,
        kind=kind,
        position=position,
        ingested=NOW,
        image=image,
    )


def flight(
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
