"""Runs the commands of a version and records what can be observed from outside: log, metrics, API responses.

Code, configuration and data are in the same folders for every version, one after the other: the position of a still
contains its path, and frame ids are derived from positions.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from bench.versions.checkout import environment
from bench.versions.wire_log import WireLog, read_log, stable

COMMAND = "import sys; sys.argv[0] = 'sightline'; from sightline.cli import main; main()"
LOG = "log.sqlite?retention_every_seconds=86400"
"""Compaction would remove records before they are read."""
DEADLINE_SECONDS = 600.0
MAX_SHOWN_OUTPUT = 3_000
LOOK_SECONDS = 0.25
SETTLED_SECONDS = 3.0
"""Wait after the last commit: gauges are updated once per second."""
CLIP, STILLS = "left.mp4", "still-0?.jpg"
FRAMES, STILL_FRAMES = 30, 8
CUT_BYTES = 1000
"""The start of a JPEG: enough for `ingest` to accept it, too little to decode."""
TOML = """\
data = "{data}"
transport = "sqlite:///{data}/{log}"
segments = [["decode", "gate", "detect", "track"], ["decode", "caption", "embed"]]
[worker]
publish_embeddings = true
"""
ANSWERS = (
    "/api/status",
    "/api/search?limit=8&q=" + quote("a red circle, but no square"),
    "/api/search?limit=8&q=" + quote("a cyan cross"),
    "/api/search?limit=20&feed=yard&since=2000-01-01",
    "/api/search?limit=8&like={frame}",
    "/api/frames/{frame}",
)

CREATED = "_created"
"""Ends the names of metrics that exist only once there is a sample."""

Series = dict[str, dict[str, Any]]
"""The metrics of a process: by name, the type and the sorted labels of all samples."""


class CommandError(Exception):
    """A command of a version failed."""


@dataclass
class Observed:
    """The log of one version, its metrics by process, and its API responses by request."""

    log: WireLog
    metrics: dict[str, Series] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """`root` is the code of the version, `folder` the working directory of its commands."""

    root: Path
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def output(self) -> Path:
        """Output of the command started last."""
        return self.folder / "output.txt"

    @property
    def log(self) -> str:
        return f"sqlite:///{self.data}/{LOG}"

    @cached_property
    def samples(self) -> Path:
        return self.root / "tinyworld" / "samples"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", COMMAND, *arguments]
        with self.output.open("wb") as output:
            return subprocess.Popen(command, cwd=self.folder, env=environment(self.root), stdout=output, stderr=output)

    def run(self, *arguments: str) -> None:
        """Raises CommandError."""
        self.succeeded(self.start(*arguments))

    def succeeded(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the command ends. Raises CommandError with the end of its output."""
        if process.wait(DEADLINE_SECONDS):
            output = self.output.read_text(errors="replace")[-MAX_SHOWN_OUTPUT:]
            raise CommandError(f"{self.root}: {process.args!r} exits with {process.returncode}:\n{output}")

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        process = self.start(*arguments)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)

    def observed(self, metrics: dict[str, Series], answers: dict[str, Any]) -> Observed:
        """Read the log, then end the index process and remove everything but the code."""
        log = read_log(self.data / "log.sqlite")
        with suppress(OSError, ValueError):
            os.kill(int((self.data / "index" / "index.lock").read_text()), signal.SIGTERM)
        for _ in range(2):  # the index process may still write
            shutil.rmtree(self.data, ignore_errors=True)
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink()
        return Observed(log, metrics, answers)


def demo(deployment: Deployment) -> Observed:
    """The demo. Its metrics are read until it ends, so only names and types are complete, not the labels."""
    port = free_port()
    page: Series = {}
    settings = ("--data", str(deployment.data), "--set", f"transport={deployment.log}", "--set", f"serve.port={port}")
    process = deployment.start("demo", "--once", *settings)
    while process.poll() is None:
        with suppress(OSError):
            page = scraped(port)
        time.sleep(LOOK_SECONDS)
    deployment.succeeded(process)
    names = {name: {"type": metric["type"]} for name, metric in page.items() if not name.endswith(CREATED)}
    return deployment.observed({"page": names}, {})


def work(deployment: Deployment) -> Observed:
    """All topics and both segments of a split plan: a dead letter, a deletion, feeds; then searches over the API."""
    text = TOML.format(data=deployment.data, log=LOG)
    (deployment.folder / "sightline.toml").write_text(text)
    whole = (deployment.samples / "still-01.jpg").read_bytes()
    (deployment.folder / "broken.jpg").write_bytes(whole[:CUT_BYTES])
    deployment.run("ingest", str(deployment.samples / STILLS), "--feed", "yard", "--limit", str(STILL_FRAMES))
    deployment.run("ingest", str(deployment.folder / "broken.jpg"), "--feed", "yard")
    deployment.run("ingest", str(deployment.samples / CLIP), "--feed", "left", "--fps", "2.5", "--limit", str(FRAMES))
    for feed, *options in (("door", "--policy", "lossless", "--fps", "2"), ("gate", "--max-age", "5", "--loop")):
        deployment.run("feeds", "add", feed, str(deployment.samples / CLIP), *options)
    deployment.run("feeds", "pause", "door")
    deployment.run("feeds", "remove", "gate")
    metrics = _workers(deployment)
    deployment.run("dead", "drop", "--reason", "unreadable_image")
    answers = _answers(deployment)
    return deployment.observed(metrics, answers)


def _workers(deployment: Deployment) -> dict[str, Series]:
    """Metrics of one worker per segment, after all frames are finished and a deletion is applied."""
    ports = [free_port(), free_port()]
    first, second = (
        ("work", "--segment", str(number), "--set", f"serve.metrics_port={port}")
        for number, port in enumerate(ports, 1)
    )
    with deployment.running(*first) as one, deployment.running(*second) as other:
        _wait_until_done(deployment, [one, other])
        deployment.run("forget", _frame(deployment, 3), "--reason", "asked for")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _count(deployment, "deletions") > 1:
            if time.monotonic() > deadline:
                raise TimeoutError("the deletion was not applied")
            time.sleep(LOOK_SECONDS)
        _wait_until_done(deployment, [one, other])
        return {f"segment {number}": scraped(port) for number, port in enumerate(ports, 1)}


def _answers(deployment: Deployment) -> dict[str, Any]:
    port = free_port()
    frame = _frame(deployment, 0)
    with deployment.running("serve", "--set", f"serve.port={port}") as process:
        _wait_for(port, process)
        return {path: stable(json.loads(_get(port, path.format(frame=frame)))) for path in ANSWERS}


def _wait_until_done(deployment: Deployment, workers: list[subprocess.Popen[bytes]]) -> None:
    """Return when no group has lag and every frame is enriched or dead."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        finished = _count(deployment, "frames.enriched") + _count(deployment, "frames.dead")
        if finished >= _count(deployment, "frames.raw") and not _lag(deployment):
            break
        if time.monotonic() > deadline or any(worker.poll() is not None for worker in workers):
            raise TimeoutError(f"{finished} frames were finished, the others were not")
        time.sleep(LOOK_SECONDS)
    time.sleep(SETTLED_SECONDS)


def _lag(deployment: Deployment) -> int:
    return _number(
        deployment,
        "SELECT sum(partitions.next_offset - ifnull(claims.next_offset, first_offset)) FROM claims"
        " JOIN partitions ON partitions.id = partition_id",
    )


def _count(deployment: Deployment, topic: str) -> int:
    return _number(
        deployment, "SELECT sum(next_offset) FROM partitions JOIN topics ON topics.id = topic_id WHERE name = ?", topic
    )


def _number(deployment: Deployment, query: str, *values: str) -> int:
    with closing(sqlite3.connect(f"file:{deployment.data}/log.sqlite?mode=ro", uri=True)) as connection:
        return int(connection.execute(query, values).fetchone()[0] or 0)


def _frame(deployment: Deployment, number: int) -> str:
    """The id of frame `number` of the clip."""
    records = read_log(deployment.data / "log.sqlite").records["frames.raw"]["default/left"]
    return str(records[number].value["id"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            _get(port, "/api/status")
            time.sleep(SETTLED_SECONDS)  # counts are read in the background
            return
        time.sleep(LOOK_SECONDS)
    raise TimeoutError("the page was not served")


def _get(port: int, path: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_SECONDS) as answer:
        return bytes(answer.read())


def scraped(port: int) -> Series:
    """The metrics of a process, without help texts and values."""
    found: Series = {}
    for family in text_string_to_metric_families(_get(port, "/metrics").decode()):
        samples = sorted({json.dumps([sample.name, _labels(sample.labels)]) for sample in family.samples})
        found[family.name] = {"type": family.type, "samples": samples}
    return found


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(labels.items()))
