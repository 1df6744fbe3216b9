"""Events for tests: a small one as a source writes it, and one with every field of every type set."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from schemas.events import (
    Answer,
    Box,
    Caption,
    DeadLetter,
    Detection,
    Embedding,
    FrameEvent,
    ImageRef,
    Keywords,
    Label,
    Mask,
    Moderation,
    Observed,
    RecognizedText,
    Refinement,
    Region,
    Skipped,
    TraceEntry,
)
from schemas.identity import frame_id, region_id, video_position

NOW = datetime(2026, 11, 21, 8, 30, 0, 250_000, tzinfo=UTC)
SHA256 = "ab" * 32
POSITION = video_position(SHA256, 12_800, 0)
BOX: Box = (10.0, 20.0, 110.5, 140.25)


def raw_event() -> FrameEvent:
    uri = f"blob:default/lobby/2026-11-21/{SHA256}"
    image = ImageRef(format="jpeg", sha256=SHA256, size_bytes=3, width=640, height=480, uri=uri, inline=b"\xff\xd8\xff")
    return FrameEvent(
        id=frame_id("default", "lobby", POSITION),
        tenant="default",
        feed="lobby",
        kind="frame",
        position=POSITION,
        captured=NOW,
        ingested=NOW,
        image=image,
    )


def embedding(name: str = "semantic", dimension: int = 4) -> Embedding:
    vector = np.full(dimension, dimension**-0.5, dtype="<f4")
    return Embedding(name=name, model="tiny", dimension=dimension, vector=vector.tobytes())


def full_event() -> FrameEvent:
    event = raw_event()
    region = Region(
        id=region_id(event.id, "detection", "circle", BOX, 640, 480),
        source="detection",
        box=BOX,
        mask=Mask(counts=b"0A1", height=4, width=4),
        parent=event.id,
        caption="a red circle",
        label="circle",
        attributes={"colour": "red"},
        embeddings=(embedding(),),
    )
    return replace(
        event,
        image=replace(event.image, thumbnail=f"{event.image.uri}.thumb", quality=90),
        published=NOW,
        model_set="tiny-1a2b3c4d",
        detections=(Detection(label="circle", confidence=0.9, box=BOX, track="7"),),
        regions=(region,),
        captions=(Caption(text="Photo: a red circle, a blue square.", model="tiny", prompt="a", role="scene"),),
        keywords=Keywords(simple=("circle", "square"), compound=("red circle", "blue square")),
        answers=(Answer(question="how many?", text="two", probability=0.8, model="tiny"),),
        texts=(RecognizedText(text="EXIT", box=BOX, confidence=0.7),),
        labels=(Label(name="forbidden sign", probability=0.9, threshold=0.5, policy="p1"),),
        refinement=Refinement(text="a red circle", before=0.2, after=0.3, dropped=("blue square",), added=("left",)),
        embeddings=(embedding(), embedding("visual", 8)),
        moderation=Moderation(verdict="review", policy="p1", reasons=("forbidden sign",)),
        results={"count_people": {"people": 0, "note": None, "deep": [{"x": 1.5}]}},
        skipped=(Skipped(stage="segment", reason="gate:static"),),
        trace=(
            TraceEntry(
                stage="decode",
                worker="w1",
                model="m",
                revision="r",
                queue_seconds=0.5,
                compute_seconds=0.25,
                batch_size=4,
            ),
        ),
    )


def dead_letter() -> DeadLetter:
    return DeadLetter(
        id=raw_event().id,
        tenant="default",
        feed="lobby",
        stage="decode",
        reason="unreadable_image",
        message="truncated",
        died=NOW,
        topic="frames.raw",
        partition=3,
        offset=41,
        key=b"default/lobby",
        headers={"ce_id": b"1"},
        value=b"\x80",
        uri="blob:default/lobby/2026-11-21/" + SHA256,
        attempts=2,
    )


def observed() -> Observed:
    return Observed(
        frame=raw_event().id,
        tenant="default",
        feed="lobby",
        kind="frame",
        state="enriched",
        published=NOW,
        captured=NOW,
        reason="",
        labels={"circle": 2},
        skipped={"segment": "gate:static"},
        luminance=0.5,
        difference=0.25,
    )
