"""A frame as JSON for the page, from its event or from its point, with the same keys from both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.events import FrameEvent
from schemas.points import is_out_of_domain, payload
from search.results import SearchHit, SearchResult
from sightline.api.skip_state import skip_states
from streams.sources.url_guard import redacted

_FROM_PAYLOAD = ("feed", "kind", "time", "captured", "ingested", "published", "caption", "width", "height")
_FROM_RESULT = ("text", "negatives", "counts", "notes", "unknown_words", "cursor", "total", "total_is_exact", "ranked",
                "calibrated", "nothing_matches", "nothing_left", "out_of_domain")  # fmt: skip


def event_card(event: FrameEvent, declared_states: Mapping[str, str]) -> dict[str, Any]:
    """`skip_state` is the first of the frame's skip states in the order of `declared_states`, None without one."""
    card = payload_card(event.id, payload(event))
    card["skipped"] = {entry.stage: entry.reason for entry in event.skipped}
    card["skip_state"] = next(iter(skip_states(card["skipped"].values(), declared_states)), None)
    card["latency_seconds"] = _seconds(event.ingested, event.published)
    return card


def payload_card(frame: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`detections` have label, confidence, box (xyxy in pixels of `width` × `height`) and track.

    `origin` is the path or URL of the picture, without credentials; empty where there is none. `out_of_domain` pictures
    are unlike those that the models were trained on.
    """
    card = {name: fields.get(name) for name in _FROM_PAYLOAD}
    origin, detections = _without_credentials(fields.get("origin") or ""), fields.get("detections") or []
    strange = is_out_of_domain(fields)
    return {"id": frame, **card, "origin": origin, "out_of_domain": strange, "detections": detections}


def hit_card(hit: SearchHit, *, ranked: bool) -> dict[str, Any]:
    """`score` and `probability` are None where the newest pictures come first; `similar` are ids of folded pictures."""
    card = payload_card(hit.id, hit.payload)
    score = round(hit.score, 4) if ranked else None
    return {**card, "score": score, "probability": _rounded(hit.probability), "similar": list(hit.similar)}


def result_card(result: SearchResult) -> dict[str, Any]:
    contents = result.contents
    return {
        **{name: getattr(result, name) for name in _FROM_RESULT},
        "unknown_names": [{"kind": n.kind, "name": n.name, "nearest": list(n.nearest)} for n in result.unknown_names],
        "best": _rounded(result.best),
        "contents": {name: getattr(contents, name) for name in contents.__struct_fields__} if contents else None,
        "hits": [hit_card(hit, ranked=result.ranked) for hit in result.hits],
    }


def _without_credentials(origin: str) -> str:
    return redacted(origin) if "://" in origin else origin


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)
