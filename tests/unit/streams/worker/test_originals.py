"""Bytes that came inside a record are verified before anything is computed from them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from processors.frame import thaw
from schemas.events import FrameEvent, ImageRef
from schemas.identity import frame_id
from stores.blobs import blob_uri, sha256_hex
from stores.folder import BlobFolder
from streams.lifecycle.deletions import Deletions
from streams.metrics import Metrics
from streams.plan import GIVEN
from streams.sqlite.transport import SqliteTransport
from streams.transport import Partition, Record
from streams.worker.in_flight import InFlightFrame
from streams.worker.instruments import worker_instruments
from streams.worker.originals import Originals
from streams.worker.route import Route
from streams.worker.settings import WorkerSettings
from tests.support.pictures import encoded, scene

PICTURE = encoded(scene(1, 32, 24))
FLIPPED = PICTURE[:400] + bytes([PICTURE[400] ^ 0x10]) + PICTURE[401:]
DAY = datetime(2026, 11, 28, tzinfo=UTC)
URI = blob_uri("default", "lobby", DAY.date(), sha256_hex(PICTURE))


def in_flight(inline: bytes, *, uri: str = URI) -> InFlightFrame:
    image = ImageRef(format="jpeg", sha256=sha256_hex(PICTURE), size_bytes=len(PICTURE), uri=uri, inline=inline)
    event = FrameEvent(
        id=frame_id("default", "lobby", "still:a"),
        tenant="default",
        feed="lobby",
        kind="still",
        position="still:a",
        ingested=DAY,
        image=image,
    )
    record = Record(Partition("frames.raw", 0), 0, 1, b"", b"", {}, DAY.timestamp())
    route = Route((), GIVEN, needs_original=True)
    return InFlightFrame(record, thaw(event), route, len(PICTURE), 0.0, GIVEN)


@pytest.mark.parametrize(
    ("inline", "stored", "uri", "reason", "original"),
    [
        (PICTURE, PICTURE, URI, None, PICTURE),
        (FLIPPED, PICTURE, URI, None, PICTURE),
        (FLIPPED, None, URI, "wrong_original", FLIPPED),
        (FLIPPED, FLIPPED, URI, "wrong_original", FLIPPED),
        (FLIPPED, None, "", "wrong_original", FLIPPED),
    ],
    ids=["whole", "blob_is_right", "no_blob", "both_damaged", "of_another_producer"],
)
async def test_flipped_bytes_in_a_record(
    tmp_path: Path, inline: bytes, stored: bytes | None, uri: str, reason: str | None, original: bytes
) -> None:
    blobs = BlobFolder(tmp_path)
    if stored is not None:
        path = tmp_path / URI.removeprefix("blob:")
        path.parent.mkdir(parents=True)
        path.write_bytes(stored)
    instruments = worker_instruments(WorkerSettings(), Metrics(CollectorRegistry()))
    deletions = Deletions(SqliteTransport(tmp_path / "log.sqlite"))
    originals, inflight = (
        Originals(blobs, deletions, instruments.retry, instruments.metrics),
        in_flight(inline, uri=uri),
    )
    absent = await asyncio.wait_for(originals.load([inflight]), 30)
    assert not absent
    assert (inflight.death.reason if inflight.death else None) == reason
    assert inflight.frame.original == original
    if inflight.death:
        assert "the bytes in the record have another hash than its event names" in inflight.death.message
    await blobs.close()
