"""Whether two versions write the same: every record of every topic, field by field, and every metric.

    python -m bench.same OLD [NEW] [--only demo|work]

OLD and NEW are commits; NEW defaults to the working tree. Each version runs `sightline demo --once` with the tiny
models. Then it runs a split plan with a dead letter, a deletion and feeds, of which the workers' metrics and responses
of the API are read too. Both versions use the same folders, one after the other, and the packages of this environment.

The comparison covers the tables of the log, the topics and their settings, the names of groups, and for each topic and
key the partitions, headers and values of all records in order. It leaves out times, worker names, durations, batch
sizes and the day in blob URIs. The records of `sources.accepted` are joined per feed, because how many frames share a
record depends on timing. Numbers may differ by 1e-4. Of the metrics it covers names, types and the labels of all
samples.

Every difference is a line, old | new, up to ten per topic. The last line of output is JSON. Exit status 1 if the
versions differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.report import report
from bench.versions.checkout import clean_up_on_termination, commit_of, present_copy, worktree
from bench.versions.differences import differences
from bench.versions.scenario import Deployment, Observed, demo, work
from bench.versions.wire_log import WireLog

SCENARIOS: dict[str, Callable[[Deployment], Observed]] = {"demo": demo, "work": work}
SHOWN = 10


def observe(checkout: AbstractContextManager[Path], folder: Path, names: list[str]) -> dict[str, Observed]:
    """Run the scenarios with one version."""
    found: dict[str, Observed] = {}
    with checkout as root:
        for name in names:
            began = time.monotonic()
            found[name] = SCENARIOS[name](Deployment(root, folder))
            print(f"{name}: {found[name].log.count} records read after {time.monotonic() - began:.0f} s", flush=True)
    return found


def compare(old: Observed, new: Observed) -> Iterator[tuple[str, str]]:
    """Every difference, with the topic or part it belongs to."""
    yield from _named("log", differences(old.log.format, new.log.format, "log"))
    yield from _named("topics", differences(old.log.topics, new.log.topics, "topics"))
    yield from _named("groups", differences(old.log.groups, new.log.groups, "groups"))
    for topic in sorted(old.log.records.keys() & new.log.records.keys()):
        yield from _named(topic, _of_topic(old.log, new.log, topic))
    yield from _named("metrics", differences(old.metrics, new.metrics, "metrics"))
    yield from _named("answers", differences(old.answers, new.answers, ""))


def _of_topic(old: WireLog, new: WireLog, topic: str) -> Iterator[str]:
    before, after = set(old.fields[topic]), set(new.fields[topic])
    yield from (f"{topic} {path}: in no record of the new version" for path in sorted(before - after))
    yield from (f"{topic} {path}: in no record of the old version" for path in sorted(after - before))
    yield from differences(_records(old, topic), _records(new, topic), topic)


def _records(log: WireLog, topic: str) -> dict[str, Any]:
    return {key: [record._asdict() for record in records] for key, records in log.records[topic].items()}


def _named(name: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    return ((name, line) for line in lines)


def show(scenario: str, found: list[tuple[str, str]]) -> None:
    for name, group in groupby(found, lambda difference: difference[0]):
        lines = [line for _, line in group]
        print(f"{scenario}, {name}: {len(lines)} differences (old | new)")
        for line in lines[:SHOWN]:
            print(f"  {line}")
        if len(lines) > SHOWN:
            print(f"  … and {len(lines) - SHOWN} more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", nargs="?", help="a commit; default: the working tree")
    parser.add_argument("--only", choices=list(SCENARIOS))
    arguments = parser.parse_args()
    clean_up_on_termination()
    try:
        old, new = commit_of(arguments.old), commit_of(arguments.new) if arguments.new else ""
    except ValueError as error:
        parser.error(str(error))
    names = [arguments.only] if arguments.only else list(SCENARIOS)
    with tempfile.TemporaryDirectory(prefix="bench-same-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        checkout = folder / "checkout"
        before = observe(worktree(old, checkout), folder, names)
        after = observe(worktree(new, checkout) if new else present_copy(checkout), folder, names)
    found = {name: list(compare(before[name], after[name])) for name in names}
    for scenario, lines in found.items():
        show(scenario, lines)
    series = [
        metric.get("samples", [])
        for each in before.values()
        for kind in each.metrics.values()
        for metric in kind.values()
    ]
    report(
        {
            "differences": sum(map(len, found.values())),
            "topics": len(set().union(*(each.log.topics for each in before.values()))),
            "records_compared": sum(each.log.count for each in before.values()),
            "metrics": len({name for each in before.values() for kind in each.metrics.values() for name in kind}),
            "samples": sum(map(len, series)),
            "answers": sum(len(each.answers) for each in before.values()),
        },
        old=old,
        new=new or "working tree",
        records={
            name: {topic: sum(map(len, keys.values())) for topic, keys in each.log.records.items()}
            for name, each in before.items()
        },
    )
    sys.exit(bool(sum(map(len, found.values()))))


if __name__ == "__main__":
    main()
