"""The headers of a plain picture, as another producer writes them."""

from __future__ import annotations

from datetime import datetime

from schemas.cloudevents import RAW_TYPE


def picture_headers(
    source: str, identity: str, *, content_type: str, captured: datetime | None = None, kind: str = "still"
) -> dict[str, bytes]:
    """Headers with which any producer puts a plain picture on `frames.raw`; `source` ends in the feed."""
    headers = {
        "ce_specversion": "1.0",
        "ce_type": RAW_TYPE,
        "ce_source": source,
        "ce_id": identity,
        "ce_kind": kind,
        "content-type": content_type,
    }
    times = {} if captured is None else {"ce_time": captured.isoformat()}
    return {name: text.encode() for name, text in (headers | times).items()}
