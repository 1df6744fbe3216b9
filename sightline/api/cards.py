"""A frame as JSON for the page, from its event or from its point, with the same keys from both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.events import FrameEvent
from schemas.points import payload
from search.results import SearchHit, SearchResult
from sightline.api.skip_state import skip_states

_FROM_PAYLOAD = ("feed", "kind", "time", "captured", "ingested", "published", "caption", "width", "height")


def event_card(event: FrameEvent, declared_states: Mapping[str, str]) -> dict[str, Any]:
    """`skip_state` is the first of the frame's skip states in the order of `declared_states`, None without one."""
    card = payload_card(event.id, payload(event))
    card["skipped"] = {entry.stage: entry.reason for entry in event.skipped}
    card["skip_state"] = next(iter(skip_states(card["skipped"].values(), declared_states)), None)
    card["latency_seconds"] = _seconds(event.ingested, event.published)
    return card


def payload_card(frame: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`detections` have label, confidence, box (xyxy in pixels of `width` × `height`) and track."""
    card = {name: fields.get(name) for name in _FROM_PAYLOAD}
    return {"id": frame, **card, "detections": fields.get("detections") or []}


def hit_card(hit: SearchHit) -> dict[str, Any]:
    card = payload_card(hit.id, hit.payload)
    return {**card, "score": round(hit.score, 4), "probability": _rounded(hit.probability)}


def result_card(result: SearchResult) -> dict[str, Any]:
    contents = result.contents
    return {
        "text": result.text,
        "negatives": list(result.negatives),
        "unknown_words": list(result.unknown_words),
        "calibrated": result.calibrated,
        "nothing_matches": result.nothing_matches,
        "best": _rounded(result.best),
        "contents": {name: getattr(contents, name) for name in contents.__struct_fields__} if contents else None,
        "hits": [hit_card(hit) for hit in result.hits],
    }


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)
