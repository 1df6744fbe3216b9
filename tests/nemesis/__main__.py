"""`python -m tests.nemesis [NAME …]`: plays faults, one line of a table each; the last line of output is JSON."""

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
from tests.nemesis.faults import BOTH, FAULTS
from tests.nemesis.player import Player, Result
from tests.nemesis.rig import ALL, LONG, SHORT, Log, Scale

ABOUT = """\
Plays faults against real workers, logs, brokers and indexes, and checks the promise afterwards.

Each process writes a history of what was acknowledged to it: accepts, published states, points and commits. After a
fault the lag must reach 0 before a deadline. Then histories, topics and index are held against the promise: every
accepted frame is enriched or dead, dead and unknown frames have no points, each feed is in order, offsets are
monotonic, and nothing is committed before its state and its points. Exits with 1 if the promise was broken.
"""
EPILOG = """\
examples:
  python -m tests.nemesis                          all faults, about 40 minutes
  python -m tests.nemesis index-failing broker-killed
  python -m tests.nemesis --short --log sqlite     outages of seconds, one kill at each point
  LONG=1 python -m tests.nemesis kill-inside-a-stage   200 kills
  python -m tests.nemesis --list                   names, logs, and what each fault proves
"""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.nemesis",
        description=ABOUT,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to play; all if none is named")
    parser.add_argument(
        "--log", choices=BOTH, help="play only on this log; by default on every log that the fault applies to"
    )
    parser.add_argument(
        "--short", action="store_true", help="outages of seconds instead of minutes, one kill at each point"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep histories and data in this folder")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the results into this page (docs/faults.md)")
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}; --list shows all")
    return chosen


def scale(short: bool) -> Scale:  # noqa: FBT001 - the flag as parsed
    return SHORT if short else LONG if os.environ.get("LONG") == "1" else ALL


async def play(player: Player, selection: Sequence[tuple[str, Log]], page: Path | None) -> list[Result]:
    print(report.head(), flush=True)
    results = []
    for name, log in selection:
        results.append(await player.play(name, log))
        print(report.line(results[-1]), flush=True)
        if page is not None:
            report.write(page, results[-1:], player.scale)
    return results


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    if chosen.list:
        for name, fault in FAULTS.items():
            print(f"{name:<{report.FIRST_WIDTH}}{' '.join(fault.on):<14}{fault.proves}")
        return 0
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs every attempt to reach a killed broker
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that mounts are undone and servers stopped
    names = chosen.names or list(FAULTS)
    selection = [(name, log) for name in names for log in FAULTS[name].on if chosen.log in (None, log)]
    with tempfile.TemporaryDirectory(prefix="sightline-faults-", ignore_cleanup_errors=True) as temporary:
        player = Player(chosen.keep or Path(temporary), scale(chosen.short))
        try:
            results = asyncio.run(play(player, selection, chosen.write))
        finally:
            player.close()
    print(report.last_line(results, player.scale))
    return int(any(result.verdict == "BROKEN" for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
