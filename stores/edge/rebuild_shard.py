"""`python -m stores.edge.rebuild_shard ORDER` writes all points of a shard to a new one, which holds nothing else.

Edge keeps the bytes of deleted points in its files and its write-ahead log for an unlimited time, and never shrinks
them. ORDER is the JSON of a `stores.edge.rebuild_order.Order`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import qdrant_edge as edge

from stores.edge import wire
from stores.edge.address import socket_path
from stores.edge.collection import Collection
from stores.edge.rebuild_order import Order
from stores.edge.shard import by_point, create

NICENESS = 5
"""A third of another process's share: models and searches come first, and on a busy machine it still ends."""
PAGE_POINTS = 64
"""The index process answers a page in some milliseconds: a search does not wait long."""
SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl(2)."""


def main(order: Order) -> None:
    """Runs at low priority, and ends when its parent process ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != order.parent:
        return
    os.nice(NICENESS)
    target = Path(order.target)
    collection = Collection(order.spec, target, create(target, order.spec))
    for page in _salvaged(order) if order.damaged_shard else _exported(order):
        payloads = msgspec.json.decode(page.payloads)
        collection.write(page.ids, by_point(len(page.ids), page.vectors), payloads)
    if order.optimize:
        collection.optimize()
    collection.close()


def _exported(order: Order) -> Iterator[wire.Exported]:
    """All points of the collection, asked of the index process page by page."""
    with socket.socket(socket.AF_UNIX) as connection, socket_path(Path(order.index_folder or "")) as address:
        connection.connect(address)
        with connection.makefile("rwb") as stream:
            number, after = 0, None
            while number == 0 or after is not None:
                number += 1
                stream.write(wire.frame(wire.Call(number, wire.Export(order.spec.name, PAGE_POINTS, after))))
                stream.flush()
                length = int.from_bytes(stream.read(wire.LENGTH_BYTES), "little")
                reply = wire.reply(stream.read(length))
                if reply.error:
                    sys.exit(reply.message)
                page = msgspec.msgpack.decode(reply.result, type=wire.Exported)
                yield page
                after = page.next_id


def _salvaged(order: Order) -> Iterator[wire.Exported]:
    """Without the indexes of payload fields, which are made of the payloads: with a damaged one no shard opens."""
    shard = Path(order.damaged_shard or "")
    for index in shard.glob("segments/*/payload_index"):
        shutil.rmtree(index)
    spec = msgspec.structs.replace(order.spec, payload={})
    collection = Collection(spec, shard, edge.EdgeShard.load(str(shard)), sealed=order.sealed)
    first, after = True, None
    while first or after is not None:
        first = False
        page = collection.salvage(PAGE_POINTS, after)
        yield page
        after = page.next_id


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
