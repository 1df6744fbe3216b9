"""What aiokafka does badly while a cluster is away; there is no setting for either.

With something to send to a partition that has no leader (its broker went down in peace, and said so), a producer asks
for metadata again as soon as it has an answer or a refusal, which takes a whole core. And a consumer that is stopped
while a fetch waits to be tried again raises what it has cancelled itself, half stopped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient

ASKED_A_SECOND = 10


def ask_with_pauses(client: AIOKafkaClient) -> None:
    """Have a client ask for metadata so often at most; a few times in a row are no reason to wait."""
    update, loop = client._metadata_update, asyncio.get_running_loop()
    asked = deque([float("-inf")] * ASKED_A_SECOND, ASKED_A_SECOND)

    async def update_in_time(*arguments: Any) -> bool:
        await asyncio.sleep(max(0.0, asked[0] + 1.0 - loop.time()))
        asked.append(loop.time())
        updated: bool = await update(*arguments)
        return updated

    client._metadata_update = update_in_time


def mend(consumer: AIOKafkaConsumer) -> None:
    """Have a started consumer ask with pauses, and its fetches end without an error when it cancels them."""
    ask_with_pauses(consumer._client)
    fetcher = consumer._fetcher
    fetch = fetcher._proc_fetch_request

    async def fetch_or_end(*arguments: Any) -> bool:
        try:
            arrived: bool = await fetch(*arguments)
        except asyncio.CancelledError:
            return False
        return arrived

    fetcher._proc_fetch_request = fetch_or_end
