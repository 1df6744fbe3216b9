"""`sightline demo`: everything at once, on the shipped clips or on your own pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sightline.config import Config
from sightline.demo import Demo, check_sources, run
from sightline.terminal.options import configured, err
from sightline.terminal.outputs import check_output
from sightline.terminal.signals import removing
from sightline.wiring.config_check import check_config
from sightline.wiring.server import listening_socket

PORTS_TRIED = 20
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        "-s",
        help="Your own video, picture, folder, glob, list of URLs, object store or camera, as `ingest` takes them. "
        "Repeatable.",
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Stop after the searches.")]
Sheet = Annotated[Path, typer.Option(help="JPEG file for the contact sheet of the pictures found.")]


@configured
async def demo(
    config: Config,
    source: Sources = None,
    once: Once = False,  # noqa: FBT002 - a flag as typed
    sheet: Sheet = Path("sightline-demo.jpg"),
) -> None:
    """Run the whole chain in one process: feeds, models, log, index, page and three searches.

    Its data lies in a temporary folder that is removed at the end; give `--data FOLDER` to keep it.
    """
    check_config(config)
    check_sources(config, source or ())
    check_output(sheet)
    listener = listening_socket(config, tries=PORTS_TRIED)
    port = config.serve.port
    if (actual := listener.getsockname()[1]) != port and port:
        err.print(f"port {port} is taken; using {actual}")
    with (
        tempfile.TemporaryDirectory(prefix="sightline-", ignore_cleanup_errors=True) as folder,
        removing(Path(folder)),
        listener,
    ):
        keep = config.data != Config().data or config.transport
        if not keep:
            short = msgspec.structs.replace(config.storage, log_hours=1.0)
            config = msgspec.structs.replace(config, data=folder, storage=short)
        await run(Demo(config, tuple(source or ()), once, sheet), listener)
