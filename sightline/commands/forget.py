"""`sightline forget`: request that frames are erased."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas.events import Deletion
from schemas.points import collection
from sightline.config import Config
from sightline.terminal.frame_ids import check_frame_ids
from sightline.terminal.options import UsageError, configured, out
from sightline.terminal.render import counted
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.parts import Parts, opened
from streams.lifecycle.dead_letters import DeadLetters, LetterFilter
from streams.lifecycle.eraser import deletion_record
from streams.lifecycle.event_lookup import find_event, find_payload

Frames = Annotated[list[str], typer.Argument(help="Frame ids, as `search` and `dead list` show them.")]
Reason = Annotated[str, typer.Option(help="A note that is kept with the request.")]


@configured
async def forget(config: Config, frames: Frames, reason: Reason = "") -> None:
    """Erase frames: their points, original and thumbnail. A replay does not bring them back.

    Running workers apply the request within seconds; otherwise it is applied when a worker starts. A picture that
    another frame has too is kept until that frame is forgotten as well. Records on the log expire with retention
    (`storage.log_hours`).
    """
    frames = check_frame_ids(frames)
    check_data_folder(config)
    async with opened(config) as parts:
        requests = [await _deletion(parts, frame, reason) for frame in frames]
        await parts.transport.publish([deletion_record(deletion) for deletion in requests])
    out.print(
        f"Deletion of {counted(len(requests), 'frame')} requested; workers will apply it. Records on the log expire "
        f"within {config.storage.log_hours:g} h."
    )


async def _deletion(parts: Parts, frame: str, reason: str) -> Deletion:
    """The request for one frame. Raises UsageError for a frame that is unknown."""
    tenant = parts.config.tenant
    point = await find_payload(
        parts.index, collection("frames", worker_settings(parts.config).model_set), frame, tenant
    )
    event = await find_event(parts.transport, frame, point, tenant)
    cited = [event.image.uri, event.image.thumbnail] if event else []
    cited += [str(point.get(name) or "") for name in ("uri", "thumbnail")] if point else []
    feed = event.feed if event else str(point["feed"]) if point else await _dead_feed(parts, frame)
    if feed is None:
        raise UsageError(f"frame {frame} is unknown: it has no event, no point and no dead letter")
    uris = tuple(sorted({uri for uri in cited if uri}))
    return Deletion(frame=frame, tenant=tenant, feed=feed, requested=datetime.now(UTC), reason=reason, uris=uris)


async def _dead_feed(parts: Parts, frame: str) -> str | None:
    letters = await DeadLetters(parts.transport).choose(LetterFilter(frames=(frame,)))
    return next((entry.letter.feed for entry in letters if entry.letter.tenant == parts.config.tenant), None)
