"""Any service can put pictures on frames.raw: python examples/producer.py BROKERS FEED PICTURE…"""

import asyncio
import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer


async def main(brokers: str, feed: str, *pictures: str) -> None:
    sure = {"acks": "all", "enable_idempotence": True, "max_request_size": 4 << 20}
    async with AIOKafkaProducer(bootstrap_servers=brokers, **sure) as producer:
        for content in (Path(picture).read_bytes() for picture in pictures):
            identity = hashlib.sha256(content).hexdigest()  # the same picture again is the same frame
            headers = {
                "ce_specversion": "1.0",
                "ce_type": "sightline.frame.raw.v1",
                "ce_source": f"/my-service/{feed}",
                "ce_id": identity,
                "ce_time": datetime.now(UTC).isoformat(),
                "content-type": "image/jpeg",
            }
            encoded = [(name, text.encode()) for name, text in headers.items()]
            await producer.send_and_wait("frames.raw", content, key=identity.encode(), headers=encoded)


asyncio.run(main(*sys.argv[1:]))
