"""Whether one version is as fast as another: the benchmarks of both, measured in turns on the same machine.

    python -m bench.beside OLD [NEW] [--benches log,hop] [--rounds N] [--folder PATH]

OLD and NEW are commits; NEW defaults to the working tree. A commit beside itself shows the noise of the machine. Each
version measures with its own benchmark programs and the packages of this environment, at reduced sizes. Only our side
is measured, because the baselines are the same in both versions; `bench/versions/measures.py` lists the figures.

Each version is a warm process, and the two take turns (old, new, new, old, …). A first round is discarded. A benchmark
that finishes within two minutes gets more rounds, up to twice as many, while the noise of a figure exceeds 2 %. Files
are kept in memory if the system has a folder for that, because disks vary more than programs; `--folder` names another.

The ratio of a figure is the median of the ratios of its rounds, and above 1 if NEW is better: new / old for rates,
old / new for seconds and memory. `±` is two standard errors of that median, estimated from the quartiles. The last
line of output is JSON: for each benchmark the ratio of its worst figure, and `worst` for the worst of all. Exit status
1 if a benchmark failed. About 25 minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.report import LEAST_ROUNDS, report
from bench.versions.broker_measures import prepare_hop, prepare_scale
from bench.versions.checkout import ROOT, clean_up_on_termination, commit_of, compile_wire, has_compiled, worktree
from bench.versions.measures import MEASURES
from bench.versions.side import Figures, Side, SideError
from deploy.local.cluster import Cluster

ROUNDS = {
    "log": 9,
    "index": 15,
    "decode": 11,
    "pipeline": 9,
    "memory": 5,
    "search": 11,
    "hop": 11,
    "scale": 5,
    "latency": 5,
}
"""More if a round is short or its figures vary."""
ON_BROKER: dict[str, Callable[[Any], None]] = {"hop": prepare_hop, "scale": prepare_scale}
"""Fills the broker that both versions share."""
NOISE = 0.02
EXTRA_ROUNDS_SECONDS = 120.0
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - a file system, and folders of our own in it
SMALLER_IS_BETTER = ("_seconds", "_mib")
QUARTILES_OF_DEVIATION = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
MEDIAN_OF_MEAN = 1.2533
"""Standard error of a median over that of a mean."""


def in_turns(old: Side, new: Side) -> Iterator[tuple[Figures, Figures]]:
    """The figures of both sides, round by round without end; the first round is discarded."""
    for number in count():
        if number % 2:
            after, before = new.measure(), old.measure()
        else:
            before, after = old.measure(), new.measure()
        if number:
            yield before, after


def compare(roots: tuple[Path, Path], name: str, rounds: int) -> dict[str, dict[str, float]]:
    """For each figure: ratio, noise, both medians, rounds. Raises SideError."""
    began = time.monotonic()
    with ExitStack() as stack:
        options = stack.enter_context(broker(ON_BROKER[name])) if name in ON_BROKER else {}
        old, new = (stack.enter_context(closing(Side(root, name, options))) for root in roots)
        for side in (old, new):
            side.wait_until_ready()
        measured: list[tuple[Figures, Figures]] = []
        for pair in in_turns(old, new):
            measured.append(pair)
            if len(measured) >= rounds:
                figures = {figure: summary(figure, measured) for figure in pair[0]}
                spent = len(measured) == 2 * rounds or time.monotonic() - began > EXTRA_ROUNDS_SECONDS
                if spent or all(each["noise"] <= NOISE for each in figures.values()):
                    return figures
    raise AssertionError("rounds do not end by themselves")


def summary(figure: str, measured: Sequence[tuple[Figures, Figures]]) -> dict[str, float]:
    pairs = [(before[figure], after[figure]) for before, after in measured]
    ratios = [ratio(figure, *pair) for pair in pairs]
    return {
        "ratio": median(ratios),
        "noise": noise(ratios),
        "old": median(before for before, _ in pairs),
        "new": median(after for _, after in pairs),
        "rounds": len(pairs),
    }


@contextmanager
def broker(prepare: Callable[[Any], None]) -> Iterator[dict[str, Any]]:
    """A broker that both versions share; yields the options for their sides."""
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder:
        cluster = Cluster(Path(folder) / "kafka")
        cluster.start()
        try:
            prepare(cluster)
            yield {"bootstrap": cluster.bootstrap}
        finally:
            cluster.stop()


def ratio(figure: str, old: float, new: float) -> float:
    """Above 1 if the new version is better."""
    if old == new:
        return 1.0  # both may be 0
    return old / new if figure.endswith(SMALLER_IS_BETTER) else new / old


def noise(ratios: list[float]) -> float:
    """Two standard errors of the median."""
    low, _, high = quantiles(ratios, n=4)
    return float(2 * MEDIAN_OF_MEAN * (high - low) / QUARTILES_OF_DEVIATION / len(ratios) ** 0.5)


@contextmanager
def checked_out(old: str, new: str) -> Iterator[tuple[Path, Path]]:
    """The roots of both versions, compiled. Raises ValueError if only one has compiled code."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-beside-")))
        roots = [
            stack.enter_context(worktree(commit, folder / name))
            for name, commit in (("old", old), ("new", new))
            if commit
        ]
        for root in roots:
            compile_wire(root)
        before, after = roots if new else (*roots, ROOT)
        if has_compiled(before) != has_compiled(after):
            without = before if has_compiled(after) else after
            raise ValueError(f"{without} has no compiled code and the other version has; `make setup` compiles it")
        yield before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", nargs="?", help="a commit; default: the working tree")
    parser.add_argument("--benches", default=",".join(MEASURES))
    parser.add_argument("--rounds", type=int, help="per benchmark; default: more for short ones")
    parser.add_argument("--folder", type=Path, default=MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None)
    arguments = parser.parse_args()
    names = arguments.benches.split(",")
    if unknown := set(names) - set(MEASURES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    if arguments.rounds is not None and arguments.rounds < LEAST_ROUNDS:
        parser.error(f"a median needs {LEAST_ROUNDS} rounds at least")
    try:
        old, new = commit_of(arguments.old), commit_of(arguments.new) if arguments.new else ""
    except ValueError as error:
        parser.error(str(error))
    if arguments.folder:
        os.environ["TMPDIR"] = tempfile.tempdir = str(arguments.folder.resolve())
    clean_up_on_termination()
    began = time.monotonic()
    found: dict[str, dict[str, dict[str, float]]] = {}
    failed: list[str] = []
    with checked_out(old, new) as roots:
        for name in names:
            try:
                found[name] = compare(roots, name, arguments.rounds or ROUNDS[name])
            except SideError as error:
                failed.append(name)
                print(f"{name}: {error}", flush=True)
            else:
                show(name, found[name], time.monotonic() - began)
    worst = {name: min(each["ratio"] for each in figures.values()) for name, figures in found.items()}
    report(
        {"worst": min(worst.values(), default=0.0), **worst},
        failed=failed,
        old=old,
        new=new or "working tree",
        details={name: {figure: _rounded(each) for figure, each in figures.items()} for name, figures in found.items()},
        folder=tempfile.gettempdir(),
        seconds=round(time.monotonic() - began, 1),
    )
    sys.exit(bool(failed))


def show(name: str, figures: dict[str, dict[str, float]], seconds: float) -> None:
    for figure, each in figures.items():
        medians = f"old {each['old']:10.4g}  new {each['new']:10.4g}"
        print(f"{name:9} {figure:28} {medians}  ratio {each['ratio']:.3f} ± {each['noise']:.3f}", flush=True)
    rounds = next(iter(figures.values()))["rounds"]
    print(f"{name:9} {rounds:.0f} rounds, done after {seconds:.0f} s", flush=True)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in figures.items()}


if __name__ == "__main__":
    main()
