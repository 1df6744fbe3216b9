"""Limits how often an aiokafka client requests metadata; aiokafka has no setting for it.

A producer that has records for a partition without a leader (its broker was shut down in order, and announced it)
requests metadata again as soon as it has an answer or a refusal, which takes a whole core.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiokafka.client import AIOKafkaClient

METADATA_REQUESTS_PER_SECOND = 10


def limit_metadata_requests(client: AIOKafkaClient) -> None:
    """Let at most `METADATA_REQUESTS_PER_SECOND` through in any second; a few in a row do not wait."""
    update, loop = client._metadata_update, asyncio.get_running_loop()
    sent = deque([float("-inf")] * METADATA_REQUESTS_PER_SECOND, METADATA_REQUESTS_PER_SECOND)

    async def limited_update(*arguments: Any) -> bool:
        await asyncio.sleep(max(0.0, sent[0] + 1.0 - loop.time()))
        sent.append(loop.time())
        updated: bool = await update(*arguments)
        return updated

    client._metadata_update = limited_update
