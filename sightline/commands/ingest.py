"""`sightline ingest`: put pictures and videos on the log."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.config import Config
from sightline.ingest_runner import feed_all, feedings, told
from sightline.terminal.options import UsageError, configured, err, out
from sightline.wiring.parts import opened
from streams.sources.playback import Playback

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Video files, pictures, folders, quoted globs; - for a list of paths and URLs on standard input, or a "
        "file with one URL a line; a picture's URL; s3://BUCKET/PREFIX, gs://, az://, file:///FOLDER; a camera: "
        "rtsp://…, http(s)://….m3u8 or MJPEG, /dev/video0 or 0."
    ),
]
Feed = Annotated[str, typer.Option(help="Name of the feed; default: the file's or folder's name.")]
Fps = Annotated[float | None, typer.Option(help="Keep at most so many frames per second of video.")]
Realtime = Annotated[bool, typer.Option("--realtime", help="Play at the video's own speed, with times of capture.")]
Loop = Annotated[int, typer.Option(help="Play so many times; 0 for ever. Each lap has frames of its own.")]
Limit = Annotated[int | None, typer.Option(help="Stop after so many pictures.")]
Follow = Annotated[bool, typer.Option("--follow", help="Look for new objects below a prefix for ever.")]
Every = Annotated[float, typer.Option(min=0.1, help="With --follow: look again after so many seconds.")]
Quality = Annotated[int, typer.Option(help="JPEG quality that video frames are kept in.")]


@configured
async def ingest(
    config: Config,
    sources: Sources,
    feed: Feed = "",
    fps: Fps = None,
    realtime: Realtime = False,  # noqa: FBT002 - a flag as typed
    loop: Loop = 1,
    limit: Limit = None,
    quality: Quality = 90,
    follow: Follow = False,  # noqa: FBT002 - a flag as typed
    every: Every = 30.0,
) -> None:
    """Accept pictures: the original is kept, its record is on the log. What was accepted before adds nothing.

    Work on them with `sightline work`, before or afterwards; it makes no difference. URLs are fetched from the public
    internet alone, unless `fetch.allow` names other networks; what cannot be fetched is told, and the others go on.
    """
    try:
        playback = Playback(fps=fps, realtime=realtime, laps=loop or None, limit=limit, quality=quality)
        wanted = feedings(sources, feed, playback, every if follow else None)
    except ValueError as error:
        raise UsageError(str(error)) from None
    async with opened(config) as parts:
        summaries = await feed_all(parts, wanted, err)
    for entry, summary in zip(wanted, summaries, strict=True):
        for line in told(entry.feed, summary):
            out.print(line, markup=True)
