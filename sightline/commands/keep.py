"""`sightline keep`: frames that retention never takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas import topics
from schemas.retention import Kept
from sightline.config import Config
from sightline.terminal.frame_ids import check_frame_ids
from sightline.terminal.options import configured, err, out
from sightline.terminal.render import counted
from sightline.wiring.build_worker import frames_collection
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.parts import Parts, opened
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.event_lookup import find_event, find_payload
from streams.lifecycle.kept_frames import KeptFrames, kept_record
from streams.transport import NewRecord

Frames = Annotated[list[str], typer.Argument(help="Frame ids, as `search` and `show` print them.")]
Undo = Annotated[bool, typer.Option("--undo", help="Let retention take these frames again.")]
Reason = Annotated[str, typer.Option(help="A note that is kept with the request; `show` prints it.")]


@configured
async def keep(config: Config, frames: Frames, undo: Undo = False, reason: Reason = "") -> None:  # noqa: FBT002
    """Keep frames: retention never removes their pictures and points (table `storage` of the configuration).

    `sightline forget` erases them all the same. Events on the log expire as those of other frames.
    """
    frames = list(dict.fromkeys(check_frame_ids(frames)))
    check_data_folder(config)
    async with opened(config, as_is=True) as parts:
        kept, deletions = KeptFrames(parts.transport), Deletions(parts.transport)
        await kept.catch_up()
        await deletions.catch_up()
        if undo:
            records = [NewRecord(topics.KEPT, frame.encode(), None, {}) for frame in frames if frame in kept.frames]
            reasons = {frame: "is not kept" for frame in frames if frame not in kept.frames}
        else:
            found = {frame: await _kept(parts, frame, reason) for frame in frames if frame not in deletions}
            records = [kept_record(entry) for entry in found.values() if entry is not None]
            reasons = {frame: "is erased, or being erased" for frame in frames if frame in deletions}
            reasons |= {frame: "is unknown: no event and no point" for frame, entry in found.items() if entry is None}
        if records:
            await parts.transport.publish(records)
    verb = "no longer kept" if undo else "kept: retention does not take them"
    out.print(f"{counted(len(records), 'frame')} {verb}")
    for frame, why in reasons.items():
        err.print(f"[yellow]![/] frame {frame} {why}", markup=True, soft_wrap=True)
    if reasons:
        raise typer.Exit(1)


async def _kept(parts: Parts, frame: str, reason: str) -> Kept | None:
    """None for a frame that is unknown."""
    tenant = parts.config.tenant
    point = await find_payload(parts.index, frames_collection(parts.config), frame, tenant)
    event = await find_event(parts.transport, frame, point, tenant)
    feed = event.feed if event else str(point["feed"]) if point else None
    if feed is None:
        return None
    cited = [event.image.uri, event.image.thumbnail] if event else []
    cited += [str(point.get(name) or "") for name in ("uri", "thumbnail")] if point else []
    uris = tuple(sorted({uri for uri in cited if uri}))
    return Kept(frame=frame, tenant=tenant, feed=feed, since=datetime.now(UTC), reason=reason, uris=uris)
