"""`sightline demo`: everything at once, on the shipped clips or on your own pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sightline.api.server import listen
from sightline.config import Config, RetentionSettings
from sightline.demo import Demo, run
from sightline.terminal.options import UsageError, configured, err

PORTS_TRIED = 20
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        "-s",
        help="Your own video, picture, folder, glob, list of URLs, object store or camera, as `ingest` takes them; may "
        "be repeated.",
    ),
]
Once = Annotated[bool, typer.Option("--once", help="End after the searches.")]
Sheet = Annotated[Path, typer.Option(help="Where the contact sheet of the searches goes.")]


@configured
async def demo(
    config: Config,
    source: Sources = None,
    once: Once = False,  # noqa: FBT002 - a flag as typed
    sheet: Sheet = Path("sightline-demo.jpg"),
) -> None:
    """Show the whole chain: feeds, models, log, index, page and searches, in one process.

    Everything is kept in a temporary folder and removed at the end; `--data FOLDER` keeps it.
    """
    host, port = config.serve.host, config.serve.port
    try:
        listener = listen(host, port, tries=PORTS_TRIED)
    except OSError as error:
        raise UsageError(f"{host}:{port} and the {PORTS_TRIED - 1} ports after it: {error.strerror}") from None
    if (taken := listener.getsockname()[1]) != port and port:
        err.print(f"port {port} is taken; using {taken}")
    with tempfile.TemporaryDirectory(prefix="sightline-", ignore_cleanup_errors=True) as folder:
        kept = config.data != Config().data or config.transport
        if not kept:
            config = msgspec.structs.replace(config, data=folder, retention=RetentionSettings(hours=1.0))
        await run(Demo(config, tuple(source or ()), once, sheet), listener)
