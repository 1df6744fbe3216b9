"""What the HTTP API stands on; the wiring builds it."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct
from prometheus_client import CollectorRegistry

from search.retrieve import Searcher
from stores.blobs import BlobStore
from stores.index import Index
from streams.transport import Transport


class ApiSettings(Struct, frozen=True, kw_only=True):
    tenant: str = "default"
    model_set: str = ""
    """Shown on the page, as `tiny-1a2b3c4d`."""
    collection: str = "frames"
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Names this server answers to: a foreign page that points its own name at this address gets nothing. `*`: any."""
    poll_seconds: float = 0.25
    """How often the log is looked at for new events."""
    limit: int = 24
    """Results of a search that does not say how many."""
    skip_states: dict[str, str] = {}
    """Prefixes of reasons for skipped stages and the states that frames are counted and shown as, by the plan's stages:
    `{"gate:": "gated"}`."""


@dataclass(frozen=True, slots=True)
class Services:
    """Opened by the caller and closed by the caller, after the server has ended."""

    transport: Transport
    index: Index
    blobs: BlobStore
    searcher: Searcher
    settings: ApiSettings
    registry: CollectorRegistry | None = None
    """Where given, `/metrics` shows it."""
