"""What the child process that writes a new shard is asked for, and its run."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import msgspec
from msgspec import Struct

from stores.index import CollectionSpec


class Order(Struct, frozen=True):
    spec: CollectionSpec
    target: str
    """The folder of the new shard, which does not exist."""
    parent: int
    """The id of the process that asks: the child ends with it, also if it is killed before the child's first line."""
    index_folder: str | None = None
    """The folder of the index process that is asked for the points, or None."""
    damaged_shard: str | None = None
    """Else the folder of a shard that no process has open: its intact points are taken."""
    sealed: bool = True
    """Whether the damaged shard's points have checksums."""
    optimize: bool = False


async def in_child(order: Order) -> None:
    """Raises RuntimeError if the child fails; the child ends with this task, and with this process."""
    program = (sys.executable, "-m", "stores.edge.rebuild_shard", msgspec.json.encode(order).decode())
    child = await asyncio.create_subprocess_exec(*program, stderr=PIPE)
    try:
        _, message = await child.communicate()
        if child.returncode != 0:
            lines = message.decode(errors="replace").strip().splitlines() or ["no message"]
            raise RuntimeError(f"the rebuild of {order.spec.name} ended with status {child.returncode}: {lines[-1]}")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
