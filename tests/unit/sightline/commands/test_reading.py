"""Commands that read change nothing stored, whatever limits and plan their configuration has."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.sightline.conftest import Typed

PLAN = '--set=segments=[["decode"]]'
OTHER = (
    "--set=storage.log_hours=1",
    "--set=storage.log_bytes=1",
    "--set=worker.group=another",
)
READING = (
    ("check",),
    ("topics", "check"),
    ("topics", "describe"),
    ("groups", "list"),
    ("storage",),
    ("dead", "list"),
    ("feeds", "list"),
    ("forget", "--feed=shots", "--dry-run"),
    ("repair", "--dry-run"),
    ("backup", "copy"),
    ("show", "00000000-0000-5000-8000-000000000000"),
)


def stored(log: Path) -> list[object]:
    """Every topic's settings, and how far records were dropped and written."""
    with closing(sqlite3.connect(log)) as connection:
        return [connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("topics", "partitions")]  # noqa: S608


@pytest.fixture
def log(typed: Typed, pictures: Path, tmp_path: Path) -> Path:
    """Of six frames that are finished."""
    assert typed("ingest", str(pictures), PLAN).exit_code == 0
    assert typed("work", "--until-idle", PLAN, "--set=serve.metrics_port=0").exit_code == 0
    return tmp_path / "data" / "log.sqlite"


def test_they_leave_the_log_as_it_is_and_a_worker_applies_the_limits(typed: Typed, log: Path) -> None:
    before = stored(log)
    for command in READING:
        result = typed(*command, PLAN, *OTHER)
        assert "topic_changed" not in result.stderr, command
        assert stored(log) == before, command
    worked = typed("work", "--until-idle", PLAN, "--set=storage.log_hours=1", "--set=serve.metrics_port=0")
    assert "topic_changed" in worked.stderr
    assert stored(log) != before
