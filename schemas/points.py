"""Points in the index: the collections' names, their payload fields with index types, and the payloads' content.

One collection per model set, one point per frame under its id with the named vectors `semantic` and `visual`; regions
have a collection of their own. Sizes of vectors are the model set's; everything else is fixed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.events import Detection, FrameEvent, Region
from schemas.identity import place_in
from schemas.words import pairs, words

PointKind = Literal["frames", "regions"]
FRAMES: PointKind = "frames"
REGIONS: PointKind = "regions"
PayloadType = Literal["keyword", "integer", "float", "bool", "datetime", "text"]

OUT_OF_DOMAIN = "out_of_domain"
"""The flag of a picture unlike those that a model was trained on (`schemas.results.OutOfDomain`)."""
SEMANTIC, VISUAL = "semantic", "visual"
"""The named vectors: a text and picture model's (CLIP), and a picture model's (ViT)."""

_COMMON_FIELDS: dict[str, PayloadType] = {
    "tenant": "keyword",
    "feed": "keyword",
    "frame": "keyword",
    "kind": "keyword",
    "model_set": "keyword",
    "time": "datetime",
    "labels": "keyword",
    "words": "keyword",
    "simple": "keyword",
    "compound": "keyword",
    "attributes": "keyword",
    "tracks": "keyword",
}
FRAME_FIELDS: dict[str, PayloadType] = {
    **_COMMON_FIELDS,
    "captured": "datetime",
    "ingested": "datetime",
    "published": "datetime",
    "flags": "keyword",
    "verdict": "keyword",
}
"""Indexed fields of frames. Not indexed beside them: caption, uri, thumbnail, width, height, detections, origin,
position."""
REGION_FIELDS: dict[str, PayloadType] = {**_COMMON_FIELDS, "source": "keyword", "parent": "keyword"}
"""Indexed fields of regions. Not indexed beside them: caption, box, uri, thumbnail, width, height."""


def collection(kind: PointKind, model_set: str) -> str:
    """The collection's name; the alias that searches use is `kind` itself."""
    return f"{kind}-{model_set}"


def is_ours(collection: str) -> bool:
    """Whether the collection's points are frames or regions."""
    return collection.startswith((f"{FRAMES}-", f"{REGIONS}-"))


def holds_frames(collection: str) -> bool:
    """Whether the collection's points are frames, not regions."""
    return collection.startswith(f"{FRAMES}-")


def vectors(holder: FrameEvent | Region) -> dict[str, NDArray[np.float32]]:
    """Its embeddings by name, float32 [dimension]; empty where the embed stage was skipped: then there is no point."""
    return {embedding.name: np.frombuffer(embedding.vector, dtype="<f4") for embedding in holder.embeddings}


def payload(event: FrameEvent) -> dict[str, Any]:
    """The payload of a frame's point: JSON values only, every field of FRAME_FIELDS present or None."""
    labels = [detection.label for detection in event.detections]
    labels += [region.label for region in event.regions if region.label]
    texts = [_caption(event), *(caption.text for caption in event.captions), *(text.text for text in event.texts)]
    return {
        **_common(event),
        "captured": _rfc3339(event.captured),
        "ingested": _rfc3339(event.ingested),
        "published": _rfc3339(event.published),
        "labels": _distinct(labels),
        **_words_of(event, texts, labels, event.regions),
        "tracks": _distinct(detection.track for detection in event.detections if detection.track),
        "flags": _flags(event),
        "verdict": event.moderation.verdict if event.moderation else None,
        "caption": _caption(event),
        "detections": [_detection(detection) for detection in event.detections],
        "origin": event.origin or place_in(event.position),
        "position": event.position,
    }


def region_payload(event: FrameEvent, region: Region) -> dict[str, Any]:
    """The payload of a region's point, in the frame `event`."""
    labels = [region.label] if region.label else []
    return {
        **_common(event),
        "labels": labels,
        **_words_of(None, [region.caption], labels, (region,)),
        "tracks": _distinct(d.track for d in event.detections if d.track and d.box == region.box),
        "source": region.source,
        "parent": region.parent,
        "caption": region.caption,
        "box": list(region.box),
    }


def _common(event: FrameEvent) -> dict[str, Any]:
    return {
        "tenant": event.tenant,
        "feed": event.feed,
        "frame": event.id,
        "kind": event.kind,
        "model_set": event.model_set,
        "time": _rfc3339(event.captured or event.ingested),
        "uri": event.image.uri,
        "thumbnail": event.image.thumbnail,
        "width": event.image.width,
        "height": event.image.height,
    }


def _words_of(
    event: FrameEvent | None, texts: Iterable[str], labels: Iterable[str], regions: Iterable[Region]
) -> dict[str, list[str]]:
    """Fields of words. Negative terms are compared with `words` and `compound`, which hold all texts of the picture."""
    keywords = event.keywords if event and event.keywords else None
    all_texts = [*texts, *labels]
    for region in regions:
        all_texts += [region.caption, *(f"{value} {region.label}" for value in region.attributes.values())]
    simple = keywords.simple if keywords else ()
    compound = keywords.compound if keywords else ()
    all_texts += [*simple, *compound]
    return {
        "words": _distinct(word for text in all_texts for word in words(text)),
        "simple": _distinct(simple),
        "compound": _distinct(pair for text in all_texts for pair in pairs(text)),
        "attributes": _distinct(f"{name}:{value}" for region in regions for name, value in region.attributes.items()),
    }


def is_out_of_domain(payload: Mapping[str, Any]) -> bool:
    """Whether a point's payload has the flag `OUT_OF_DOMAIN`."""
    return OUT_OF_DOMAIN in (payload.get("flags") or ())


def _flags(event: FrameEvent) -> list[str]:
    """Labels that apply, and `OUT_OF_DOMAIN` if a stage says so in its results."""
    flags = [label.name for label in event.labels if label.probability >= label.threshold]
    strange = any(isinstance(result, Mapping) and result.get(OUT_OF_DOMAIN) for result in event.results.values())
    return [*flags, OUT_OF_DOMAIN] if strange else flags


def _caption(event: FrameEvent) -> str:
    """The caption shown to people: the refined text, else the scene's first caption."""
    if event.refinement is not None:
        return event.refinement.text
    return next((caption.text for caption in event.captions if caption.role == "scene"), "")


def _detection(detection: Detection) -> dict[str, Any]:
    fields = {
        "label": detection.label,
        "confidence": round(detection.confidence, 4),
        "box": list(detection.box),
    }
    return {**fields, "track": detection.track} if detection.track else fields


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
