"""What lies where: a picture is on a disk once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from schemas import codec, topics
from sightline.config import Config
from sightline.wiring.build_worker import worker_settings
from streams.sqlite.transport import SqliteTransport
from streams.topic_reader import read_topic
from streams.transport import Record
from tests.unit.sightline.conftest import Typed


def test_pictures_beside_the_embedded_log_are_no_part_of_its_records(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    sizes = {path.stat().st_size for path in pictures.iterdir()}
    assert typed("ingest", str(pictures)).exit_code == 0
    records = asyncio.run(_records(tmp_path / "data" / "log.sqlite"))
    events = [codec.decode_frame(record.value, record.headers).event for record in records]
    assert len(events) == 6
    assert {event.image.size_bytes for event in events} == sizes
    assert all(event.image.uri and event.image.inline is None for event in events)
    assert all(len(record.value or b"") < 1000 for record in records)


def test_records_carry_pictures_only_where_that_saves_a_fetch_from_a_remote_store(tmp_path: Path) -> None:
    here, segments = str(tmp_path), (("decode",),)
    assert worker_settings(Config(data=here, segments=segments)).inline_limit_bytes == 0
    assert worker_settings(Config(data=here, blobs=f"file://{here}/b", segments=segments)).inline_limit_bytes == 0
    remote = Config(data=here, blobs="s3://frames", segments=segments)
    assert worker_settings(remote).inline_limit_bytes == remote.worker.inline_limit_bytes > 0
    kafka = Config(data=here, transport="kafka://broker:9092", segments=segments)
    assert worker_settings(kafka).inline_limit_bytes == kafka.worker.inline_limit_bytes


async def _records(path: Path) -> list[Record]:
    log = SqliteTransport(path)
    await log.open()
    try:
        return [record async for record in read_topic(log, topics.RAW)]
    finally:
        await log.close()
