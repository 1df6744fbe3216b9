"""What the runtime stands on: the log, the index and the blob store, opened by the caller and closed by the caller."""

from __future__ import annotations

from dataclasses import dataclass

from stores.blobs import BlobStore
from stores.index import Index
from streams.transport import Transport


@dataclass(frozen=True, slots=True)
class Backends:
    transport: Transport
    index: Index
    blobs: BlobStore
