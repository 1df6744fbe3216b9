"""A worker in a network of its own: host ── router ── worker, three namespaces; the router drops packets on request.

Made with iproute2, which needs root. Only packets that cross the router are dropped, silently, as on a broken link:
both ends keep their connections and learn nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import Literal

Direction = Literal["both", "to the broker", "from the broker"]


def lacking() -> str:
    """What this machine lacks for it; empty if nothing."""
    if shutil.which("ip") is None:
        return "`ip` is not on the path; install iproute2"
    return "" if os.geteuid() == 0 else "network namespaces need root"


class Link:
    """Built by the constructor, which raises CalledProcessError where the kernel refuses."""

    def __init__(self) -> None:
        number = os.getpid() % 250
        self.host, self._near = f"10.213.{number}.1", f"10.213.{number}.2"
        self._far, self.worker = f"10.213.{number}.5", f"10.213.{number}.6"
        self._net = f"10.213.{number}.4/30"
        self._router, self.namespace = f"sightline-router-{number}", f"sightline-worker-{number}"
        self._link = f"sight{number}"
        try:
            self._build()
        except BaseException:
            self.remove()
            raise

    @property
    def prefix(self) -> list[str]:
        """Of a command that runs at the worker's end."""
        return ["ip", "netns", "exec", self.namespace]

    def cut(self, direction: Direction) -> None:
        for end in self._ends(direction):
            _ip("-n", self._router, "route", "add", "blackhole", f"{end}/32")

    def restore(self) -> None:
        for end in (self.host, self.worker):
            with suppress(subprocess.CalledProcessError):
                _ip("-n", self._router, "route", "del", "blackhole", f"{end}/32")

    def remove(self) -> None:
        for namespace in (self._router, self.namespace):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)

    def _ends(self, direction: Direction) -> list[str]:
        ends = {"to the broker": [self.host], "from the broker": [self.worker], "both": [self.host, self.worker]}
        return ends[direction]

    def _build(self) -> None:
        router, worker, link = self._router, self.namespace, self._link
        for namespace in (router, worker):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("link", "add", link, "type", "veth", "peer", "name", "near", "netns", router)
        _ip("-n", router, "link", "add", "far", "type", "veth", "peer", "name", "end", "netns", worker)
        _ip("addr", "add", f"{self.host}/30", "dev", link)
        _ip("-n", router, "addr", "add", f"{self._near}/30", "dev", "near")
        _ip("-n", router, "addr", "add", f"{self._far}/30", "dev", "far")
        _ip("-n", worker, "addr", "add", f"{self.worker}/30", "dev", "end")
        _ip("link", "set", link, "up")
        for device in ("near", "far"):
            _ip("-n", router, "link", "set", device, "up")
        _ip("-n", worker, "link", "set", "end", "up")
        _ip("netns", "exec", router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        _ip("route", "add", self._net, "via", self._near)
        _ip("-n", worker, "route", "add", "default", "via", self._far)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
