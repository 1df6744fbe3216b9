"""quixstreams' side of `bench.hop`, in an environment of its own.

python -m bench.hopping.quix BOOTSTRAP INTO OUT_OF GROUP
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from quixstreams import Application

from bench.hopping.work import hop


def main() -> None:
    bootstrap, into, out_of, group = sys.argv[1:5]
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_interval=0.5,
        state_dir=tempfile.mkdtemp(prefix="bench-hop-"),
        producer_extra_config={"acks": "all", "enable.idempotence": True},
        consumer_extra_config={"check.crcs": True},  # as aiokafka does, which the other sides use
        loglevel="WARNING",
    )
    source = app.topic(into, key_deserializer="bytes", value_deserializer="bytes")
    target = app.topic(out_of, key_serializer="bytes", value_serializer="bytes")
    frames = app.dataframe(source)

    def hops(value: bytes, key: bytes, timestamp: int, headers: Any) -> tuple[bytes, bytes, dict[str, bytes]]:
        return hop(value, dict(headers))

    frames = frames.apply(hops, metadata=True)
    frames = frames.set_headers(lambda value, key, timestamp, headers: list(value[2].items()))
    frames = frames.apply(lambda value: value[1])
    frames.to_topic(target)
    app.run()


if __name__ == "__main__":
    main()
