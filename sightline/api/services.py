"""What the HTTP API uses; the wiring builds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from msgspec import Struct
from prometheus_client import CollectorRegistry

from search.retrieve import Searcher
from stores.blobs import BlobStore
from stores.index import Index
from streams.readiness.health import Health
from streams.transport import Transport


class ApiSettings(Struct, frozen=True, kw_only=True):
    tenant: str = "default"
    model_set: str = ""
    """Shown on the page, as `tiny-1a2b3c4d`."""
    collection: str = "frames"
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Host names that the server answers to; `*` is any. Another site that points its own name here is refused."""
    poll_seconds: float = 0.25
    """Pause between two reads of the log."""
    limit: int = 24
    """Default number of results of a search."""
    zone: tzinfo | None = UTC
    """Of days and times in searches that name no zone; None is this machine's."""
    is_local: bool = False
    """Whether log, index and pictures stay on this machine."""
    reads_raw: bool = True
    """Whether waiting frames are counted, see `Tally`."""
    skip_states: dict[str, str] = {}
    """Declared by the plan's stages: a prefix of reasons for skipped stages, and the state of such frames."""


@dataclass(frozen=True, slots=True)
class Services:
    """Opened and closed by the caller; closed after the server has ended."""

    transport: Transport
    index: Index
    blobs: BlobStore
    searcher: Searcher
    settings: ApiSettings
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """What `/metrics` shows; the server adds its own metrics."""
    health: Health | None = None
    """What `/readyz` says; without it the server is ready as soon as it answers."""
