"""A transport by its URL, for the suite's own processes; no model, store or page is imported with it."""

from __future__ import annotations

from streams.sqlite.transport import SqliteTransport
from streams.transport import Transport


def connect(url: str) -> Transport:
    if url.startswith("sqlite:"):
        return SqliteTransport.from_url(url)
    if url.startswith("kafka:"):
        from streams.kafka.transport import KafkaTransport

        return KafkaTransport.from_url(url)
    raise ValueError(f"{url}: no such transport")
