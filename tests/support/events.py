"""Events for tests: `frame_event` makes every one; `full_event` has every field of every type set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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
    Kind,
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
from schemas.identity import DEFAULT_TENANT, frame_id, region_id, video_position
from stores.blobs import blob_uri, sha256_hex

NOW = datetime(2026, 11, 21, 8, 30, 0, 250_000, tzinfo=UTC)
CONTENT = b"\xff\xd8\xff"
SHA256 = "ab" * 32
BOX: Box = (10.0, 20.0, 110.5, 140.25)


def frame_event(
    position: str,
    content: bytes = CONTENT,
    *,
    tenant: str = DEFAULT_TENANT,
    feed: str = "lobby",
    kind: Kind = "frame",
    ingested: datetime = NOW,
    inline: bool = True,
    image: Mapping[str, Any] | None = None,
    **fields: Any,
) -> FrameEvent:
    """An event as a source writes it: the id follows from tenant, feed and position, the image from `content`.

    The image cites `content` as a blob of the day of `ingested`, and carries it where `inline`. `image` and `fields`
    set other fields of the image and of the event.
    """
    digest = sha256_hex(content)
    written: dict[str, Any] = {
        "format": "jpeg",
        "sha256": digest,
        "size_bytes": len(content),
        "uri": blob_uri(tenant, feed, ingested.date(), digest),
        "inline": content if inline else None,
    }
    return FrameEvent(
        id=frame_id(tenant, feed, position),
        tenant=tenant,
        feed=feed,
        kind=kind,
        position=position,
        ingested=ingested,
        image=ImageRef(**written | dict(image or {})),
        **fields,
    )


def raw_event() -> FrameEvent:
    """The small event of the stored corpus, whose digest is made up."""
    image = {"width": 640, "height": 480, "sha256": SHA256, "uri": blob_uri("default", "lobby", NOW.date(), SHA256)}
    return frame_event(video_position(SHA256, 12_800, 0), captured=NOW, image=image)


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
        uri=raw_event().image.uri,
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
