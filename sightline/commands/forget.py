"""`sightline forget`: have frames erased."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas.events import Deletion
from schemas.points import collection
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, out
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.parts import Parts, opened
from streams.lifecycle.dead_letters import DeadLetters, LetterFilter
from streams.lifecycle.eraser import deletion_record
from streams.lifecycle.event_lookup import find_event, find_payload

Frames = Annotated[list[str], typer.Argument(help="Ids of frames, as search and `dead list` show them.")]
Reason = Annotated[str, typer.Option(help="Is written into the request.")]


@configured
async def forget(config: Config, frames: Frames, reason: Reason = "") -> None:
    """Erase frames for good: points, original and thumbnail; no replay or reprocess brings them back.

    Workers obey, now if they run and else when they do. A picture that another frame has too stays until that frame is
    forgotten as well. Records on the log go with retention (`retention.hours`).
    """
    async with opened(config) as parts:
        asked = [await _deletion(parts, frame, reason) for frame in frames]
        await parts.transport.publish([deletion_record(deletion) for deletion in asked])
    out.print(f"{len(asked)} to be forgotten; workers obey, and the log forgets within {config.retention.hours:g} h")


async def _deletion(parts: Parts, frame: str, reason: str) -> Deletion:
    """Raises UsageError for a frame of which nothing is known."""
    tenant = parts.config.tenant
    point = await find_payload(
        parts.index, collection("frames", worker_settings(parts.config).model_set), frame, tenant
    )
    event = await find_event(parts.transport, frame, point, tenant)
    cited = [event.image.uri, event.image.thumbnail] if event else []
    cited += [str(point.get(name) or "") for name in ("uri", "thumbnail")] if point else []
    feed = event.feed if event else str(point["feed"]) if point else await _dead_feed(parts, frame)
    if feed is None:
        raise UsageError(f"no frame {frame}: neither an event nor a point nor a dead letter of it is left")
    uris = tuple(sorted({uri for uri in cited if uri}))
    return Deletion(frame=frame, tenant=tenant, feed=feed, requested=datetime.now(UTC), reason=reason, uris=uris)


async def _dead_feed(parts: Parts, frame: str) -> str | None:
    letters = await DeadLetters(parts.transport).choose(LetterFilter(frames=(frame,)))
    return next((one.letter.feed for one in letters if one.letter.tenant == parts.config.tenant), None)
