"""A frame on its way through a worker, with the record it came from."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from processors.frame import Frame
from streams.transport import Record
from streams.worker.crash_mark import CrashMark
from streams.worker.route import Route

PIXELS_PER_BYTE = 8
"""A JPEG of a photograph has two to eight pixels per byte."""


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
    """The fields that the frame has; each stage adds what it provides."""
    repeated: bool = False
    """The frame may have been processed before: a crash or a rebalance came between."""
    death: Death | None = None
    absent_since: float | None = None
    """When (monotonic) the original was first missing."""
    mark: CrashMark | None = None
    """Only on a frame that runs alone."""

    @property
    def feed(self) -> str:
        return self.frame.key

    @property
    def pixels(self) -> int:
        """Of the picture as its header states them, else an estimate from its encoded size."""
        image = self.frame.image
        return image.width * image.height or PIXELS_PER_BYTE * self.size_bytes


class Batch(Struct, eq=False):
    """Frames that go through the segment together. `number` counts batches in the order they began."""

    number: int
    frames: list[InFlightFrame]
    alone: bool
    """A single suspect frame, with no other batch beside it."""
    size_bytes: int
    """Held until the batch ends, also by frames that have left it."""
    computing: bool = True
    """It holds one of the places for batches that compute."""
