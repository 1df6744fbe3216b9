"""A frame on its way through a worker, with the record it came from."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from processors.frame import Frame
from streams.transport import Record
from streams.worker.crash_mark import CrashMark
from streams.worker.route import Route


@dataclass(frozen=True, slots=True)
class Death:
    """Why a frame ends as a dead letter: `reason` is a slug, the message is for people."""

    stage: str
    reason: str
    message: str


class InFlightFrame(Struct, eq=False):
    """`ready_at` is when (monotonic) the frame began to wait for its next stage."""

    record: Record
    frame: Frame
    route: Route
    size_bytes: int
    ready_at: float
    fields: frozenset[str]
    """What the frame has by now; grows with each stage."""
    repeated: bool = False
    """It may have been processed before: a crash or a rebalance came between."""
    death: Death | None = None
    absent_since: float | None = None
    """When (monotonic) its original was first missed."""
    mark: CrashMark | None = None
    """Only of a frame that runs alone."""

    @property
    def feed(self) -> str:
        return self.frame.key
