"""An ingest as a process of its own, to be interrupted: `python -m … TARGET CLIP`.

It plays in real time, so that it is not at its end before it is interrupted.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from stores.folder import BlobFolder
from streams.clock import SystemClock
from streams.sources.ingest import IngestSettings, ingest
from streams.sources.ingest_counts import Progress
from streams.sources.playback import Playback, VideoSource
from streams.sqlite.transport import SqliteTransport
from tests.contract.source_suite import FEED, TENANT


def _print_accepted(progress: Progress) -> None:
    sys.stdout.write(f"{progress.accepted}\n")
    sys.stdout.flush()


async def main(target: Path, clip: Path) -> None:
    log, blobs = SqliteTransport(target / "log.sqlite"), BlobFolder(target / "blobs")
    await log.open()
    try:
        await ingest(
            VideoSource(clip, Playback(laps=50, realtime=True), SystemClock()),
            transport=log,
            blobs=blobs,
            tenant=TENANT,
            feed=FEED,
            clock=SystemClock(),
            progress=_print_accepted,
            settings=IngestSettings(batch_frames=3),
        )
    finally:
        await log.close()
        await blobs.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in processes that a script starts with `&`
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
