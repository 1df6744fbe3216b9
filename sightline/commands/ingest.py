"""`sightline ingest`: put pictures and videos on the log."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.config import Config
from sightline.ingest_runner import ingest_jobs, raise_errors, run_jobs, summary_lines
from sightline.terminal.options import UsageError, configured, err, out
from sightline.terminal.signals import doing
from sightline.wiring.parts import opened
from streams.sources.playback import Playback

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Video files, pictures, folders or quoted globs; - for a list of paths and URLs on standard input; a "
        "file with one URL per line; a picture's URL; s3://BUCKET/PREFIX, gs://, az:// or file:///FOLDER; a camera: "
        "rtsp://…, http(s)://….m3u8 or MJPEG, /dev/video0 or 0."
    ),
]
Feed = Annotated[str, typer.Option(help="Name of the feed; default: the name of the file or folder.")]
Fps = Annotated[float | None, typer.Option(help="Maximum frames per second of video.")]
Realtime = Annotated[bool, typer.Option("--realtime", help="Play a video at its own speed, with capture times.")]
Loop = Annotated[
    int, typer.Option(help="Number of times to play a video; 0 repeats without end. Each lap has frames of its own.")
]
Limit = Annotated[int | None, typer.Option(help="Stop after this number of pictures.")]
Follow = Annotated[bool, typer.Option("--follow", help="Keep looking for new objects below a prefix, until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --follow.")]
Quality = Annotated[int, typer.Option(help="JPEG quality of video frames, 1 to 100.")]


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
    """Accept pictures: store each original, then put its record on the log. Pictures ingested before add nothing.

    `sightline work` processes them; it may run before, meanwhile or afterwards. URLs are fetched from the public
    internet only, unless `fetch.allow` names other networks. What cannot be fetched is reported, and the rest goes on.
    """
    try:
        playback = Playback(fps=fps, realtime=realtime, laps=loop or None, limit=limit, quality=quality)
        jobs = ingest_jobs(sources, feed, playback, every if follow else None)
    except ValueError as error:
        raise UsageError(str(error)) from None
    async with opened(config) as parts:
        with doing("ingesting; every frame accepted so far is kept"):
            results = await run_jobs(parts, jobs, err)
    for job, result in zip(jobs, results, strict=True):
        for line in [] if isinstance(result, Exception) else summary_lines(job.feed, result):
            out.print(line, markup=True)
    raise_errors(results)
