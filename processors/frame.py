"""The frame in memory, and a stage's verdict on it.

`Frame` is the mutable record that passes through the stages of a segment: a slot for every field of `FrameEvent`,
plus *local* fields that are never written to a topic.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from msgspec import Struct, field
from msgspec.structs import astuple
from numpy.typing import NDArray

from schemas.events import (
    Answer,
    Caption,
    Detection,
    Embedding,
    FrameEvent,
    ImageRef,
    Keywords,
    Kind,
    Label,
    Moderation,
    RecognizedText,
    Refinement,
    Region,
    Skipped,
    TraceEntry,
)

LOCAL_FIELDS = frozenset({"original", "pixels", "thumbnail_jpeg", "extra"})
"""Fields of a `Frame` that a `FrameEvent` does not have."""


class Frame(Struct, eq=False):
    """One image in flight. Stages assign to the fields they provide; they never append.

    The fields of `FrameEvent` in its order, then the local ones. Pass arguments by name.

    `pixels` is uint8 RGB [height, width, 3], upright, possibly at a reduced scale (the decode stage's choice for
    the whole plan); boxes are in pixels of the original, `image.width` × `image.height`.
    """

    id: str
    tenant: str
    feed: str
    kind: Kind
    position: str
    ingested: datetime
    image: ImageRef
    captured: datetime | None = None
    published: datetime | None = None
    model_set: str = ""
    detections: tuple[Detection, ...] = ()
    regions: tuple[Region, ...] = ()
    captions: tuple[Caption, ...] = ()
    keywords: Keywords | None = None
    answers: tuple[Answer, ...] = ()
    texts: tuple[RecognizedText, ...] = ()
    labels: tuple[Label, ...] = ()
    refinement: Refinement | None = None
    embeddings: tuple[Embedding, ...] = ()
    moderation: Moderation | None = None
    results: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    trace: tuple[TraceEntry, ...] = ()
    max_age_seconds: float = 0.0
    origin: str = ""
    version: int = 1
    # local: never written to a topic
    thumbnail_jpeg: bytes | None = None
    original: bytes | None = None
    """The picture's encoded bytes as they were accepted."""
    pixels: NDArray[np.uint8] | None = None
    extra: MutableMapping[str, Any] = field(default_factory=dict)
    """Unknown fields of the record, restored when it is encoded again."""

    @property
    def key(self) -> str:
        """`tenant/feed`: states and the order of frames are kept per key."""
        return f"{self.tenant}/{self.feed}"

    def skip(self, stage: str, reason: str) -> None:
        """Skip a later `stage`; the event carries the reason."""
        if all(entry.stage != stage for entry in self.skipped):
            self.skipped = (*self.skipped, Skipped(stage=stage, reason=reason))

    def skips(self, stage: str) -> str | None:
        """Why `stage` is skipped, or None."""
        return next((entry.reason for entry in self.skipped if entry.stage == stage), None)


_EVENT_FIELDS = len(FrameEvent.__struct_fields__)


def thaw(event: FrameEvent) -> Frame:
    """Make the mutable frame of an event; its inline bytes become the local `original`."""
    frame = Frame(*astuple(event))
    frame.results, frame.original = dict(event.results), event.image.inline
    return frame


def freeze(frame: Frame) -> FrameEvent:
    """Make the event of a frame, without local fields and inline bytes: the runtime adds those."""
    return FrameEvent(*astuple(frame)[:_EVENT_FIELDS])


@dataclass(frozen=True, slots=True)
class Invalid:
    """A frame that can never be processed: dead at once, with `reason` (a slug) and a message for people."""

    reason: str
    message: str


Verdicts = Sequence[Invalid | None]
