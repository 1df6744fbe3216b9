"""The frame in flight, and a stage's verdict on it.

`Frame` is the mutable in-memory record that passes through the stages of a segment: a slot for every field of
`FrameEvent`, plus *local* fields that never go on a topic.
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
"""Fields of a `Frame` that are no field of a `FrameEvent`."""


class Frame(Struct, eq=False):
    """One image in flight. Stages assign to the fields they provide; they never append.

    The fields of `FrameEvent` in its order, then the local ones. Name the arguments.

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
    version: int = 1
    # local: never on a topic
    thumbnail_jpeg: bytes | None = None
    original: bytes | None = None
    """The picture's encoded bytes as they were accepted."""
    pixels: NDArray[np.uint8] | None = None
    extra: MutableMapping[str, Any] = field(default_factory=dict)
    """Unknown fields of the record as it came, put back when it is encoded again."""

    @property
    def key(self) -> str:
        """`tenant/feed`, by which states and order are kept."""
        return f"{self.tenant}/{self.feed}"

    def skip(self, stage: str, reason: str) -> None:
        """Leave out a later `stage`; the reason stands in the event."""
        if all(entry.stage != stage for entry in self.skipped):
            self.skipped = (*self.skipped, Skipped(stage=stage, reason=reason))

    def skips(self, stage: str) -> str | None:
        """Why `stage` is left out, or None."""
        return next((entry.reason for entry in self.skipped if entry.stage == stage), None)


_SHARED = len(FrameEvent.__struct_fields__)


def thaw(event: FrameEvent) -> Frame:
    """Make the mutable frame of an event; its inline bytes become the local `original`."""
    frame = Frame(*astuple(event))
    frame.results, frame.original = dict(event.results), event.image.inline
    return frame


def freeze(frame: Frame) -> FrameEvent:
    """Make the event of a frame; local fields are left behind (also inline bytes: the runtime adds those)."""
    return FrameEvent(*astuple(frame)[:_SHARED])


@dataclass(frozen=True, slots=True)
class Invalid:
    """A frame that can never be processed: dead at once, with `reason` (a slug) and a message for people."""

    reason: str
    message: str


Verdicts = Sequence[Invalid | None]
