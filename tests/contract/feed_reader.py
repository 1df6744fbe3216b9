"""A process that reads feeds, to be killed: `python -m tests.contract.feed_reader URL`. Prints what it reads."""

from __future__ import annotations

import asyncio
import signal
import sys

from prometheus_client import CollectorRegistry

from schemas.events import Feed
from streams.feeds.group_member import FeedGroupMember
from streams.metrics import ProcessMetrics
from streams.readiness.instruments import instruments
from tests.support.transport_urls import connect


async def read(feed: Feed) -> None:
    """Reads a source without an end."""
    print("reads", feed.feed, feed.source, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("leaves", feed.feed, feed.source, flush=True)


async def main(url: str) -> None:
    transport = connect(url)
    await transport.open()
    member = FeedGroupMember(transport, read, instruments(ProcessMetrics(CollectorRegistry()), "starting"))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, member.stop)
    print("open", flush=True)
    await member.run()
    await transport.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
