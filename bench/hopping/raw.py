"""The bare side of `bench.hop`: a hand-written loop on aiokafka, acknowledged by all, committed on a timer.

python -m bench.hopping.raw BOOTSTRAP INTO OUT_OF GROUP [BATCH]
"""

from __future__ import annotations

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.hopping.work import hop

COMMIT_SECONDS = 0.5


async def run(bootstrap: str, into: str, out_of: str, group: str, batch: int) -> None:
    consumer = AIOKafkaConsumer(
        into,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 << 20,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=1 << 20, linger_ms=0
    )
    await consumer.start()
    await producer.start()
    committed = time.monotonic()
    while True:
        fetched = await consumer.getmany(max_records=batch, timeout_ms=500)
        waiting = []
        for records in fetched.values():
            for record in records:
                key, value, headers = hop(record.value, dict(record.headers))
                waiting.append(await producer.send(out_of, value, key, headers=list(headers.items())))
        await asyncio.gather(*waiting)
        if time.monotonic() - committed >= COMMIT_SECONDS:
            await consumer.commit()
            committed = time.monotonic()


if __name__ == "__main__":
    bootstrap, into, out_of, group, batch = sys.argv[1:6]
    asyncio.run(run(bootstrap, into, out_of, group, int(batch)))
