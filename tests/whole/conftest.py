"""One run of the demo, as a new user starts it; the tests read its output and its data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

Sightline = Callable[..., subprocess.CompletedProcess[str]]
Started = Callable[..., "subprocess.Popen[bytes]"]


def sightline(*arguments: str, cwd: Path, seconds: float = 100) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder without a configuration."""
    command = [str(Path(sys.executable).with_name("sightline")), *arguments]
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


@dataclass(frozen=True)
class Run:
    folder: Path
    done: subprocess.CompletedProcess[str]

    def sightline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same data, while nothing runs."""
        return sightline(*arguments, "--data", str(self.folder / "data"), cwd=self.folder)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("demo")
    arguments = ("demo", "--once", "--data", str(folder / "data"), "--set", "serve.port=0")
    return Run(folder, sightline(*arguments, cwd=folder, seconds=300))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Starts the command in a process of its own, on the data in `tmp_path/data`; all are killed at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("sightline")), *arguments, "--data", str(tmp_path / "data")]
        running.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
