"""`sightline show`: everything known about one frame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from schemas.codec import encode_frame
from search.annotate import annotated
from search.uploads import decode_upload
from sightline.config import Config
from sightline.terminal.console import quoted
from sightline.terminal.foreign_text import visible_json
from sightline.terminal.frame_ids import check_frame_ids
from sightline.terminal.options import UsageError, configured, err, print_lines
from sightline.terminal.outputs import check_output, write_output
from sightline.wiring.build_worker import frames_collection
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import opened
from stores.errors import Missing
from streams.lifecycle.erasure import erased_words, requested_deletions
from streams.lifecycle.event_lookup import find_event, find_payload
from streams.lifecycle.kept_frames import Retained

Frame = Annotated[str, typer.Argument(help="The frame's id.")]
Picture = Annotated[
    Path | None, typer.Option("--out", "-o", help="JPEG file for the picture with its detections drawn.")
]


@configured
async def show(config: Config, frame: Frame, picture: Picture = None) -> None:
    """Print a frame's event as JSON; with --out also write its picture with the detections drawn."""
    (frame,) = check_frame_ids([frame])
    check_data_folder(config)
    if picture is not None:
        check_output(picture)
    async with opened(config, as_is=True) as parts:
        print_lines(await check_parts(config, parts.transport))
        if (deletion := (await requested_deletions(parts.transport)).get(frame)) is not None:
            raise UsageError(f"frame {frame} {erased_words(deletion)}")
        point = await find_payload(parts.index, frames_collection(config), frame, config.tenant)
        event = await find_event(parts.transport, frame, point, config.tenant)
        if event is None:
            raise UsageError(f"no event of frame {frame} in the log; if it is dead, use `sightline dead show {frame}`")
        retained = Retained(parts.transport)
        print(visible_json(msgspec.json.format(encode_frame(event, as_json=True), indent=2).decode()))
        if (kept := await retained.kept(frame)) is not None:
            note = f": {kept.reason}" if kept.reason else ""
            err.print(f"Kept since {kept.since:%Y-%m-%d}: retention does not take this frame{note}", soft_wrap=True)
        why = await retained.why_missing(event.tenant, event.feed, frame, event.ingested)
        if picture is None and not why:
            return
        try:
            original = await parts.blobs.get(config.tenant, event.image.uri)
        except Missing as error:
            gone = f"the original of frame {frame} no longer exists: {why or error}"
            if picture is not None:
                raise UsageError(gone) from None
            err.print(f"! {gone}", soft_wrap=True)
            return
        if picture is None:
            return
        write_output(picture, annotated(event, decode_upload(original)))
        err.print(f"Annotated image written to {quoted(picture)}", soft_wrap=True)
