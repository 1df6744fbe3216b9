"""Transports by URL, for the suites' own processes; imports no model, store or page."""

from __future__ import annotations

from streams.sqlite.transport import SqliteTransport
from streams.transport import Transport


def connect(url: str) -> Transport:
    if url.startswith("sqlite:"):
        return SqliteTransport.from_url(url)
    if url.startswith("kafka:"):
        from streams.kafka.transport import KafkaTransport

        return KafkaTransport.from_url(url)
    raise ValueError(f"{url}: not a transport; use sqlite: or kafka:")
