"""Servers to inject faults into: a real Qdrant server and a real broker, killed and restarted in the same folders."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.cluster import LOOPBACK, Cluster
from streams.kafka.transport import KafkaTransport
from tests.support.qdrant_server import Ports, free_port, start_server

FAILURES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


class Qdrant:
    """A server that can be killed, frozen, or replaced by one that fails every call."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("qdrant")
        if program is None:
            raise FileNotFoundError("`qdrant` is not on the path")
        folder.mkdir(parents=True, exist_ok=True)
        self._program, self._folder, self._ports = program, folder, Ports(free_port(), free_port())
        self._server: subprocess.Popen[bytes] | None = None
        self._failing: Any = None

    @property
    def url(self) -> str:
        return self._ports.url

    async def start(self) -> None:
        self._server = await asyncio.to_thread(start_server, self._program, self._folder, self._ports)

    def kill(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)

    def fail(self) -> None:
        """Replace the server by one that refuses every call, each with another status than the call before."""
        self.kill()
        self._failing = grpc.server(ThreadPoolExecutor(4), handlers=[_Failing()])
        self._failing.add_insecure_port(f"{LOOPBACK}:{self._ports.grpc}")
        self._failing.start()

    async def recover(self) -> None:
        await asyncio.to_thread(self._failing.stop(0).wait)
        self._failing = None
        await self.start()

    def end(self) -> None:
        if self._failing is not None:
            self._failing.stop(0)
        self.kill()


class _Failing(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self) -> None:
        self._calls = 0

    def service(self, details: Any) -> Any:
        def refuse(request: bytes, context: Any) -> bytes:
            self._calls += 1
            context.abort(FAILURES[self._calls % len(FAILURES)], "injected failure")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


@dataclass
class Broker:
    """One real broker; topics are deleted between faults, so that one start serves many faults."""

    folder: Path
    host: str = LOOPBACK
    keys: str = "session_seconds=3&request_seconds=5&drain_seconds=10"

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.folder, host=self.host)

    @property
    def url(self) -> str:
        return f"kafka://{self.cluster.bootstrap}?{self.keys}"

    async def start(self) -> None:
        await asyncio.to_thread(self.cluster.start)

    def kill(self) -> None:
        for node in self.cluster.nodes:
            node.kill()

    async def empty(self) -> None:
        """Delete every topic but the broker's own, and return when they are gone."""
        transport = KafkaTransport.from_url(self.url)
        await transport.open()
        try:
            if names := [name for name in await transport.topics() if not name.startswith("__")]:
                admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.bootstrap)
                await admin.start()
                await admin.delete_topics(names)
                await admin.close()
            async with asyncio.timeout(60):
                while any(not name.startswith("__") for name in await transport.topics()):  # asks the broker each time
                    pass
        finally:
            await transport.close()

    def end(self) -> None:
        self.kill()


def fill(folder: Path) -> Path:
    """Write a file that takes all free space of the folder's file system."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size >= 1024:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return path


def mount(folder: Path, mebibytes: int) -> None:
    """Mount a small file system in memory. Raises CalledProcessError where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "sightline-faults", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def unmount(folder: Path) -> None:
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
