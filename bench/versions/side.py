"""A process that repeatedly measures one benchmark with the code of one version, for `bench.beside`.

The benchmark programs and everything they import come from that version; only this package is the present one. For
every line on standard input the process writes the figures of one measurement, as a line of JSON. It stays warm in
between, so the sides can take turns within seconds: the speed of a machine changes within minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from bench.versions.checkout import ROOT, environment

PACKAGE = ROOT / "bench" / "versions"
COMMAND = """\
import importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "bench.versions", {package!r} + "/__init__.py", submodule_search_locations=[{package!r}]
)
sys.modules["bench.versions"] = importlib.util.module_from_spec(spec)
from bench.versions.side import main
main(sys.argv[1:])
"""
Figures = dict[str, float]


class SideError(Exception):
    """The process of a version ended before it had measured."""


class Side:
    """The process, seen from outside; `close` ends it."""

    def __init__(self, root: Path, benchmark: str, options: dict[str, Any]) -> None:
        self._root = root
        command = [sys.executable, "-W", "ignore", "-c", COMMAND.format(package=str(PACKAGE))]
        self._process = subprocess.Popen(
            [*command, benchmark, json.dumps(options)],
            cwd=root,
            env=environment(root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("SHOW") else subprocess.DEVNULL,
            text=True,
        )

    def wait_until_ready(self) -> None:
        self._answer()

    def measure(self) -> Figures:
        """Raises SideError if the process has ended."""
        with suppress(BrokenPipeError):  # reading the figures fails, with the exit status
            self._input.write("\n")
            self._input.flush()
        return self._answer()

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._input.close()
        self._process.wait()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _answer(self) -> Figures:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            status = self._process.wait()
            raise SideError(f"the process of {self._root} ended with {status}; SHOW=1 shows its output")
        figures: Figures = json.loads(line)
        return figures


def program(name: str) -> Any:
    """A module of the version under measurement. It has no type because versions differ."""
    return import_module(name)


def main(arguments: list[str]) -> None:
    """Runs in the process. All other output goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from bench.versions.measures import MEASURES

    benchmark, options = arguments
    with MEASURES[benchmark](**json.loads(options)) as measure:
        print("{}", file=answers, flush=True)
        for _ in sys.stdin:
            print(json.dumps(measure()), file=answers, flush=True)
