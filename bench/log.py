"""The cost of the embedded log over bare SQLite, and whether a long backlog makes it slower.

    python -m bench.log [--rounds N] [--backlog N]

`ratio_bare`: events per second published, polled and committed through `sqlite://` in batches of 256, over a bare
`sqlite3` loop that writes, reads and commits the same rows in the same tables with the same durability (WAL,
synchronous=FULL; one transaction for the rows of a batch and one for its positions). Each process publishes in one task
and polls and commits in another, like a source and a worker. The bare loop does one after the other, with rows made
beforehand, and does not process what it reads. (Ours does not read back what the same process wrote: with one process
that is everything, with two it is half.) The figure is the worst of one and two processes on one file, with one
partition each and with eight in all. `lockstep` in the breakdown publishes, polls and commits every batch before the
next.

`cost_1m_over_10k`: seconds per event with a backlog of 1,000,000 events over those with 10,000; the worse of publishing
on top of the backlog and of polling and committing from a random position in it.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from uuid import uuid4

from bench.embedded.backlog import COST_ROUNDS, long_over_short
from bench.embedded.work import BATCH, HEADERS, Quiet, consume, events, key_of, make_log, publish
from bench.report import in_turns, median_ratio, report, threads
from streams.sqlite.record_batch import pack_headers
from streams.sqlite.schema import PAGE_BYTES
from streams.sqlite.transport import SqliteTransport

BATCHES = 180
"""Per process and round: about 46,000 events, so that the log's checkpoints are part of the measurement."""
# -- ours --------------------------------------------------------------------------------------------------------


async def ours(path: Path, processes: int, partitions: int, *, lockstep: bool) -> None:
    """The work of one process, which has `partitions` assigned and publishes to all of the topic's partitions."""
    transport = SqliteTransport(path)
    await transport.open()
    consumer = await transport.consumer("bench", ["events"], Quiet())
    while len(consumer.assignment()) != partitions:
        await consumer.poll(1, 0.05)
    total = partitions * processes
    batch = events([key_of(partition, total) for partition in range(total)], BATCH)
    await asyncio.to_thread(_ready)
    if lockstep:
        for _ in range(BATCHES):
            await publish(transport, batch, 1)
            await consume(consumer, BATCH)
    else:
        await asyncio.gather(publish(transport, batch, BATCHES), consume(consumer, BATCHES * BATCH))
    print("done", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    threads()
    await consumer.close()
    await transport.close()


# -- bare --------------------------------------------------------------------------------------------------------


def bare_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def make_bare(path: Path, partitions: int) -> None:
    """The layout of the log without the log: a table of rows per partition, and a table of positions."""
    with closing(bare_connection(path)) as connection:
        for at in range(partitions):
            connection.execute(
                f"CREATE TABLE rows_{at:d} (record_offset INTEGER PRIMARY KEY, timestamp REAL NOT NULL,"
                " key BLOB NOT NULL, value BLOB, headers BLOB NOT NULL) STRICT"
            )
        connection.execute("CREATE TABLE positions (at INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL) STRICT")
        connection.executemany("INSERT INTO positions VALUES (?, 0)", [(at,) for at in range(partitions)])


def bare(path: Path, name: int, partitions: int) -> None:
    """The work of one process, which writes and reads `partitions` tables of its own: offsets need no coordination."""
    tables = range(name * partitions, (name + 1) * partitions)
    with closing(bare_connection(path)) as connection:
        headers = pack_headers(HEADERS)
        rows = [(event.key, event.value, headers) for event in events([b"default/camera-1"], BATCH // partitions)]
        _ready()
        for first in range(0, BATCH * BATCHES // partitions, len(rows)):
            now = time.time()
            connection.execute("BEGIN IMMEDIATE")
            for at in tables:
                connection.executemany(
                    f"INSERT INTO rows_{at:d} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - an integer
                    [(first + index, now, *row) for index, row in enumerate(rows)],
                )
            connection.execute("COMMIT")
            read = [
                connection.execute(
                    f"SELECT * FROM rows_{at:d} WHERE record_offset >= ? ORDER BY record_offset LIMIT ?",  # noqa: S608
                    (first, len(rows)),
                ).fetchall()
                for at in tables
            ]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE positions SET next_offset = ? WHERE at = ?",
                [(first + len(fetched), at) for fetched, at in zip(read, tables, strict=True)],
            )
            connection.execute("COMMIT")
        print("done", flush=True)
        sys.stdin.readline()


# -- measuring ---------------------------------------------------------------------------------------------------


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def events_a_second(folder: Path, side: str, processes: int, partitions: int) -> float:
    """Start the processes, release them together once all are ready, and measure until the last is done."""
    path = folder / f"{uuid4().hex}.sqlite"
    if side == "bare":
        make_bare(path, partitions * processes)
    else:
        asyncio.run(make_log(path, partitions * processes))
    members = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.log", "--side", side, str(path), str(name), str(processes), str(partitions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in range(processes)
    ]
    _expect(members, "ready\n")
    begun = time.perf_counter()
    _release(members)
    _expect(members, "done\n")
    seconds = time.perf_counter() - begun
    for member in members:
        member.communicate("\n")
        assert member.returncode == 0
    for file in folder.glob(f"{path.name}*"):
        file.unlink()
    return processes * BATCHES * BATCH / seconds


def _expect(members: Sequence[subprocess.Popen[str]], line: str) -> None:
    for member in members:
        assert member.stdout is not None
        assert member.stdout.readline() == line


def _release(members: Sequence[subprocess.Popen[str]]) -> None:
    for member in members:
        assert member.stdin is not None
        member.stdin.write("\n")
        member.stdin.flush()


def over_bare(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """The ratio and the rates of every case."""
    cases: dict[str, dict[str, float]] = {}
    for processes in (1, 2):
        for partitions in (1, 8 // processes):
            rates = in_turns(
                rounds,
                **{
                    side: partial(events_a_second, folder, side, processes, partitions)
                    for side in ("bare", "ours", "lockstep")
                },
            )
            name = f"processes_{processes}_partitions_{partitions * processes}"
            cases[name] = {
                "ratio": round(median_ratio(rates["ours"], rates["bare"]), 4),
                "lockstep": round(median_ratio(rates["lockstep"], rates["bare"]), 4),
                **{f"{side}_events_a_second": round(median(values)) for side, values in rates.items()},
            }
            print(name, cases[name], flush=True)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--side", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side, path, *numbers = arguments.side
        name, processes, partitions = map(int, numbers)
        if side == "bare":
            bare(Path(path), name, partitions)
        else:
            asyncio.run(ours(Path(path), processes, partitions, lockstep=side == "lockstep"))
        return
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-log-") as folder:
        cases = over_bare(Path(folder), arguments.rounds)
        cost = long_over_short(Path(folder), COST_ROUNDS * arguments.rounds, arguments.backlog)
    report(
        {
            "ratio_bare": min(case["ratio"] for case in cases.values()),
            "cost_1m_over_10k": max(cost["publish"], cost["consume"]),
        },
        cases=cases,
        backlog=cost,
        threads=threads(),
        seconds=round(time.perf_counter() - begun, 1),
    )


if __name__ == "__main__":
    main()
