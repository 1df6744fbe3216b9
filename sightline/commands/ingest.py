"""`sightline ingest`: put pictures and videos on the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.config import Config
from sightline.ingest_runner import AcceptedSoFar, ingest_jobs, raise_errors, run_jobs, summary_lines
from sightline.terminal.options import UsageError, configured, err, out, print_lines
from sightline.terminal.outputs import check_output, refusals_to
from sightline.terminal.signals import doing
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import opened
from sightline.wiring.storage import excess_lines
from sightline.wiring.unfinished import unfinished_lines
from streams.sources.ingest_counts import Summary
from streams.sources.playback import Playback

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Video files, pictures, folders or quoted globs; - for a list of paths and URLs on standard input; a "
        "file with one URL per line; a picture's URL; s3://BUCKET/PREFIX, gs://, az:// or file:///FOLDER; a camera: "
        "rtsp://…, http(s)://….m3u8 or MJPEG, /dev/video0 or 0."
    ),
]
Feed = Annotated[
    str,
    typer.Option(
        help="Name of the feed; default: the name of the file or folder, and then a picture that any feed has is not "
        "accepted again."
    ),
]
Fps = Annotated[float | None, typer.Option(help="Maximum frames per second of video.")]
Realtime = Annotated[bool, typer.Option("--realtime", help="Play a video at its own speed, with capture times.")]
Loop = Annotated[
    int, typer.Option(help="Number of times to play a video; 0 repeats without end. Each lap has frames of its own.")
]
Limit = Annotated[int | None, typer.Option(help="Stop after this number of pictures.")]
Follow = Annotated[bool, typer.Option("--follow", help="Keep looking for new objects below a prefix, until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --follow.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave out files and folders of a folder, glob or prefix by their names, or with a slash by their paths "
        "below it, e.g. '*.png'. Repeatable. Always left out: hidden ones, @eaDir, #recycle, __MACOSX, $RECYCLE.BIN, "
        "Thumbs.db and the like."
    ),
]
RefusedFile = Annotated[
    Path | None, typer.Option("--refused", help="File for the list of all that is refused, one JSON object per line.")
]
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
    exclude: Exclude = None,
    refused: RefusedFile = None,
) -> None:
    """Accept pictures: store each original, then put its record on the log. Pictures ingested before add nothing.

    `sightline work` processes them; it may run before, meanwhile or afterwards. URLs are fetched from the public
    internet only, unless `fetch.allow` names other networks. What cannot be read is refused and reported,
    and the rest goes on; then the exit status is 1.
    """
    try:
        playback = Playback(fps=fps, realtime=realtime, laps=loop or None, limit=limit, quality=quality)
        jobs = ingest_jobs(sources, feed, playback, every if follow else None, exclude or ())
    except ValueError as error:
        raise UsageError(str(error)) from None
    if refused is not None:
        check_output(refused)
    async with opened(config) as parts:
        print_lines(await check_parts(config, parts.transport, needed=("pictures",)))
        print_lines(await unfinished_lines(config, parts.transport))
        counts = AcceptedSoFar()
        with doing(counts.activity), refusals_to(refused) as on_refusal:
            results = await run_jobs(parts, jobs, err, on_refusal, counts)
        print_lines(await excess_lines(config, parts.blobs))
    for job, result in zip(jobs, results, strict=True):
        for line in [] if isinstance(result, Exception) else summary_lines(job.feed, result):
            out.print(line, markup=True, soft_wrap=True)
    raise_errors(results)
    if any(isinstance(result, Summary) and result.refused for result in results):
        raise typer.Exit(1)
