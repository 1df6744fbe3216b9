"""A real Qdrant server from the path, on free ports, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

WHY_SKIPPED = "no `qdrant` on the path: the index is not tested against a server"
STARTS_SECONDS = 30.0
"""The first start may unpack the program."""


def need_qdrant() -> str:
    """The path of the program; skips the test if there is none."""
    program = shutil.which("qdrant")
    if program is None:
        pytest.skip(WHY_SKIPPED)
    return program


class Ports(NamedTuple):
    http: int
    grpc: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}?grpc_port={self.grpc}"


@contextmanager
def qdrant_server(folder: Path, ports: Ports | None = None, *, api_key: str = "") -> Iterator[str]:
    """Run a server that keeps its files in `folder`; yields the URL that `open_index` takes."""
    ports = ports or Ports(free_port(), free_port())
    server = start_server(need_qdrant(), folder, ports, api_key=api_key)
    try:
        yield ports.url
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def start_server(program: str, folder: Path, ports: Ports, *, api_key: str = "") -> subprocess.Popen[bytes]:
    """Start a server and wait until it is ready; it may be killed and restarted in the same folder."""
    settings = {
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": str(ports.http),
        "QDRANT__SERVICE__GRPC_PORT": str(ports.grpc),
        "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
        "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
        "QDRANT__TELEMETRY_DISABLED": "true",
        "QDRANT__SERVICE__API_KEY": api_key,
    }
    with (folder / "qdrant.log").open("ab") as log:
        environment = os.environ | {name: value for name, value in settings.items() if value}
        server = subprocess.Popen([program], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _until_ready(server, ports.http, folder / "qdrant.log")
    except BaseException:
        server.kill()
        server.wait()
        raise
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_ready(server: subprocess.Popen[bytes], http_port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTS_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            _pause(server)
    raise AssertionError(f"the Qdrant server did not become ready: {log.read_text(errors='replace')[-2000:]}")


def _pause(server: subprocess.Popen[bytes]) -> None:
    """Wait a moment, or until the server exits."""
    try:
        server.wait(timeout=0.05)
    except subprocess.TimeoutExpired:
        return
