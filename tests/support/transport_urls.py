"""Transports by URL, for the suites' own processes; imports no model, store or page."""

from __future__ import annotations

from streams.namespaced import NamespacedTransport
from streams.sqlite.transport import SqliteTransport
from streams.transport import Transport


def connect(url: str) -> Transport:
    """`NAMESPACE+URL` is the transport at URL under a namespace."""
    namespace, plus, rest = url.partition("+")
    if plus and namespace.isalpha():
        return NamespacedTransport(connect(rest), namespace)
    if url.startswith("sqlite:"):
        return SqliteTransport.from_url(url)
    if url.startswith("kafka:"):
        from streams.kafka.transport import KafkaTransport

        return KafkaTransport.from_url(url)
    raise ValueError(f"{url}: not a transport; use sqlite: or kafka:")
