"""Runs commands: in this process, or in a process of their own where signals matter."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from sightline.cli import make_app
from tests.support.pictures import encoded, scene

Typed = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Typed]:
    """Runs a command in an empty folder with its data in `data`; its exceptions are raised."""
    monkeypatch.chdir(tmp_path)
    runner, app, handlers = CliRunner(), make_app(), logging.getLogger().handlers[:]

    def run(*arguments: str) -> Result:
        return runner.invoke(app, [*arguments, "--data", "data"], catch_exceptions=False)

    yield run
    logging.getLogger().handlers[:] = handlers  # the command's standard error is closed by now
    structlog.reset_defaults()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures. One is truncated in its body: its header is that of a JPEG, and decoding fails."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(6):
        content = encoded(scene(number))
        (folder / f"{number}.jpg").write_bytes(content[: len(content) // 3] if number == 3 else content)
    return folder


class Process:
    """`sightline …` in a process of its own; its standard error is read line by line."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("sightline")), *arguments]
        environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
        self._log = (folder / "stderr.txt").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=self._log)

    @property
    def stderr(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def start(*arguments: str) -> Process:
        running.append(Process(tmp_path, *arguments, "--data", "data"))
        return running[-1]

    yield start
    for process in running:
        process.end()
