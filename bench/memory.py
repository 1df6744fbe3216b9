"""Whether memory grows with the number of frames: peak memory for 20,000 frames over that for 2,000.

    python -m bench.memory [--few N] [--many N]

Each run is a new process. It ingests a shipped clip again and again into the embedded log, while a worker takes the
frames through the whole plan with the tiny models, until everything is committed. `ratio_peak` compares the peaks of
resident memory of the two processes. The index grows with its points by design; its process is reported separately.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry

from bench.report import report
from sightline.config import load
from sightline.ingest_runner import IngestJob, run_job
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import caught_up
from sightline.wiring.parts import opened
from streams.sources.playback import Playback

FEW, MANY = 2_000, 20_000


def clip() -> str:
    import tinyworld

    return str(Path(next(iter(tinyworld.__path__))) / "samples" / "left.mp4")


async def run(frames: int, folder: str) -> dict[str, float]:
    config = load(None, {"data": folder}, {})
    began = time.monotonic()
    async with opened(config) as parts:
        worker = build_worker(parts, 0, CollectorRegistry())
        working = asyncio.create_task(worker.run())
        summary = await run_job(parts, IngestJob(clip(), "left", Playback(laps=None, limit=frames)))
        await caught_up(parts)
        index = max((_resident(process) for process in psutil.process_iter() if _serves(process, folder)), default=0.0)
        worker.stop()
        await working
    return {
        "frames": summary.accepted,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "index_mib": index,
        "frames_per_second": summary.accepted / (time.monotonic() - began),
    }


def _serves(process: psutil.Process, folder: str) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return "stores.edge.index_process" in command and any(argument.startswith(folder) for argument in command)


def _resident(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / (1 << 20)
    except psutil.Error:
        return 0.0


def child(frames: int) -> dict[str, float]:
    """Run `run` in a new process."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "bench.memory", "--child", str(frames), folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{frames} frames: {figures}", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--child", nargs=2, metavar=("FRAMES", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(asyncio.run(run(int(arguments.child[0]), arguments.child[1]))))
        return
    few, many = child(arguments.few), child(arguments.many)
    report({"ratio_peak": many["peak_mib"] / few["peak_mib"]}, few=few, many=many)


if __name__ == "__main__":
    main()
