"""A log or an index that is away at start: it is said, counted and waited for, and a signal ends the wait at once."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.deployment import until
from tests.unit.sightline.conftest import Process, Typed

Started = Callable[..., Process]
STOP_SECONDS = 20.0
"""For the interpreter's own end on a busy machine; a request to a broker, or a lock of the log, would take 30 s."""
START_SECONDS = 100.0
"""`serve` loads models before it listens."""
URL = re.compile(r"http://127\.0\.0\.1:\d+")
PORTS = ("--set=serve.port=0", "--set=serve.metrics_port=0", "--set=analytics.port=0", "--set=log_format=json")
COMMANDS = (("work",), ("feeds", "run"), ("serve",), ("analytics",))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nothing else takes."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def url_of(process: Process) -> str:
    def announced() -> bool:
        assert process.process.poll() is None, process.stderr
        return URL.search(process.stderr) is not None

    asyncio.run(until(announced, seconds=START_SECONDS))
    found = URL.search(process.stderr)
    assert found is not None
    return found.group()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - http, to this machine
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def waits(process: Process) -> list[str]:
    """What the log says is waited for."""
    lines = [json.loads(line) for line in process.stderr.splitlines() if line.startswith("{")]
    return [line["what"] for line in lines if line["event"] == "waits"]


def check_it_waits(process: Process, what: str, number: signal.Signals = signal.SIGTERM) -> None:
    url = url_of(process)
    asyncio.run(until(lambda: f"waits for {what}: " in get(f"{url}/readyz")[1], seconds=START_SECONDS))
    assert get(f"{url}/readyz")[0] == 503
    assert f'sightline_waiting{{what="{what}"}} 1.0' in get(f"{url}/metrics")[1]
    assert get(f"{url}/healthz")[0] == 200, "a restart would not bring it back"
    assert waits(process) in ([what], ["index", what]), "once; an embedded index may be slow to start, too"
    process.process.send_signal(number)
    assert process.process.wait(STOP_SECONDS) == 0, process.stderr
    assert waits(process) in ([what], ["index", what]), "once; an embedded index may be slow to start, too"
    assert "Traceback" not in process.stderr
    assert "committed" not in process.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_kafka_cluster_that_is_away_at_start(started: Started, closed_port: int, command: tuple[str, ...]) -> None:
    process = started(*command, *PORTS, f"--set=transport=kafka://127.0.0.1:{closed_port}")
    check_it_waits(process, "broker", signal.SIGINT if command == ("work",) else signal.SIGTERM)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != ("serve",)], ids=" ".join)
def test_a_log_that_another_process_holds_at_start(
    typed: Typed, started: Started, tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert typed("topics", "create").exit_code == 0
    with closing(sqlite3.connect(tmp_path / "data" / "log.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        check_it_waits(started(*command, *PORTS), "broker")


def test_a_qdrant_server_that_is_away_at_start(started: Started, closed_port: int) -> None:
    plan = '--set=segments=[["decode", "embed"]]'
    check_it_waits(started("work", *PORTS, plan, f"--set=index=http://127.0.0.1:{closed_port}"), "index")


def test_an_ingest_says_that_it_waits_for_the_log(started: Started, closed_port: int, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    process = started("ingest", "shots", "--set=log_format=json", f"--set=transport=kafka://127.0.0.1:{closed_port}")
    asyncio.run(until(lambda: waits(process) == ["broker"], seconds=STOP_SECONDS))
    process.process.send_signal(signal.SIGINT)
    assert process.process.wait(STOP_SECONDS) == 130, process.stderr
    assert "interrupted while" in process.stderr


def test_a_port_that_was_chosen_and_is_in_use_is_refused(typed: Typed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        for command, key in ((("work",), "serve.metrics_port"), (("analytics",), "analytics.port")):
            result = typed(*command, "--set", f"{key}={taken}")
            assert result.exit_code == 2
            assert f"{key} = {taken}" in result.stderr
