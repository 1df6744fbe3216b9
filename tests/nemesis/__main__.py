"""`python -m tests.nemesis [NAME …]`: plays faults, one table row each; the last line is JSON."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.nemesis import report
from tests.nemesis.play import Row, Stage
from tests.nemesis.scene import ALL, LONG, SHORT, Log, Scale
from tests.nemesis.table import BOTH, FAULTS

ABOUT = """\
Plays faults against real workers, logs, brokers and indexes, and asks the checker afterwards.

Every acknowledged accept, publish, upsert and commit is written to a history by the process that received it. After a
fault everything must reach its end (lag 0) within a deadline; then the histories and what is there are held against
the promise: every accepted frame in its last state, no points of dead or unknown frames, order per feed, offsets
monotonic, nothing committed before its state and its points. Exits 1 where a promise was broken.
"""
EPILOG = """\
examples:
  python -m tests.nemesis                          all of them, about 30 minutes
  python -m tests.nemesis index-failing broker-killed
  python -m tests.nemesis --short --log sqlite     outages of seconds, one kill at each point
  LONG=1 python -m tests.nemesis kill-inside-a-stage   200 kills
  python -m tests.nemesis --list                   names, and what each proves
"""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.nemesis",
        description=ABOUT,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to play; all where none is named")
    parser.add_argument("--log", choices=BOTH, help="only on this log; both where a fault applies to both")
    parser.add_argument("--short", action="store_true", help="outages of seconds instead of minutes, one kill a point")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep histories and everything else here")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the results into this page (docs/faults.md)")
    parser.add_argument("--list", action="store_true", help="say what there is, and end")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}; --list names them")
    return chosen


def scale(short: bool) -> Scale:  # noqa: FBT001 - the flag as it was given
    return SHORT if short else LONG if os.environ.get("LONG") == "1" else ALL


async def play(stage: Stage, places: Sequence[tuple[str, Log]], page: Path | None) -> list[Row]:
    print(report.head(), flush=True)
    rows = []
    for name, log in places:
        rows.append(await stage.play(name, log))
        print(report.told(rows[-1]), flush=True)
        if page is not None:
            report.write(page, rows[-1:], stage.scale)
    return rows


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    if chosen.list:
        for name, fault in FAULTS.items():
            print(f"{name:<{report.FIRST_WIDTH}}{' '.join(fault.on):<14}{fault.proves}")
        return 0
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells every attempt to reach a broker that is killed
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was mounted and started is undone
    names = chosen.names or list(FAULTS)
    places = [(name, log) for name in names for log in FAULTS[name].on if chosen.log in (None, log)]
    with tempfile.TemporaryDirectory(prefix="sightline-faults-", ignore_cleanup_errors=True) as temporary:
        stage = Stage(chosen.keep or Path(temporary), scale(chosen.short))
        try:
            rows = asyncio.run(play(stage, places, chosen.write))
        finally:
            stage.end()
    print(report.last_line(rows, stage.scale))
    return int(any(row.verdict == "BROKEN" for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
