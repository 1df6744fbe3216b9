"""Faust's side of `bench.hop`: an agent that sends its results.

python -m bench.hopping.faust_agent BOOTSTRAP INTO OUT_OF GROUP
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust

from bench.hopping.work import hop


def main() -> None:
    bootstrap, into, out_of, group = sys.argv[1:5]
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="bench-hop-"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        broker_commit_interval=0.5,
        web_enabled=False,
    )
    source = app.topic(into, key_serializer="raw", value_serializer="raw", value_type=bytes)
    target = app.topic(out_of, key_serializer="raw", value_serializer="raw", value_type=bytes)

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def hops(stream: Any) -> None:
        async for event in stream.events():
            key, value, headers = hop(event.value, dict(event.headers))
            await target.send(key=key, value=value, headers=headers)

    sys.argv = ["hop", "worker", "-l", "warn"]
    app.main()


if __name__ == "__main__":
    main()
