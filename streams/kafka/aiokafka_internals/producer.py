"""What aiokafka leaves behind in a producer that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer


def transaction_manager(producer: AIOKafkaProducer) -> Any:
    """The `TransactionManager` of an idempotent producer."""
    return producer._txn_manager


def for_each_unawaited(producer: AIOKafkaProducer, callback: Callable[[Any], None]) -> None:
    """Call `callback` with each finished future of a stopped transactional producer that nothing awaits.

    aiokafka leaves a fatal error in them, and asyncio would print each error as its future is freed.
    """
    accumulator = producer._message_accumulator
    queued = [batch for batches in accumulator._batches.values() for batch in batches]
    drained = [batch._drain_waiter for batch in (*accumulator._pending_batches, *queued)]
    for future in (transaction_manager(producer).wait_for_transaction_end(), *drained):
        if future is not None and future.done():
            callback(future)
