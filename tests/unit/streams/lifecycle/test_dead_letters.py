"""Dead letters that are odd themselves: every one is listed or counted, and none ends the replay of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.cloudevents import DEAD_TYPE, RAW_TYPE, frame_headers, headers
from schemas.codec import encode_frame
from schemas.events import DeadLetter
from schemas.identity import frame_id, still_key
from schemas.retention import Trimmed
from stores.folder import BlobFolder
from streams.lifecycle.dead_letters import CLOSES_HEADER, DeadLetters
from streams.lifecycle.kept_frames import trimmed_record
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, TopicSpec
from tests.support.events import dead_letter, frame_event

LIMIT_BYTES = 4096


@asynccontextmanager
async def log_of(folder: Path) -> AsyncIterator[SqliteTransport]:
    """A log whose `frames.raw` takes smaller records than `frames.dead`."""
    log = SqliteTransport(folder / "log.sqlite")
    await log.open()
    limits = {topics.RAW: LIMIT_BYTES, topics.DEAD: 1 << 20, topics.DELETIONS: LIMIT_BYTES}
    await log.create([TopicSpec(name, 1, max_record_bytes=limit) for name, limit in limits.items()])
    try:
        yield log
    finally:
        await log.close()


def written(number: int, **changes: Any) -> NewRecord:
    """A letter as it lies on the topic; `changes` may be what no `DeadLetter` holds."""
    letter: DeadLetter = msgspec.structs.replace(
        dead_letter(), id=frame_id("default", "lobby", str(number)), topic=topics.RAW, key=b"k", headers={}, value=b"v"
    )
    value = msgspec.msgpack.encode({**msgspec.to_builtins(letter, builtin_types=(bytes,)), **changes})
    named = headers(DEAD_TYPE, tenant="default", feed="lobby", frame=letter.id, time=letter.died)
    return NewRecord(topics.DEAD, still_key(letter.id), value, named)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value": bytes(2 * LIMIT_BYTES)}, "its limit is 4096"),
        ({"value": None, "headers": {"content-type": b"\xff\xfe"}, "uri": "blob:default/lobby/no"}, "content-type"),
        ({"value": None, "headers": {"content-type": b"image/jpeg"}, "uri": "blob:default/lobby/no"}, "not a blob"),
        ({"value": None}, "too large for the letter"),
        ({"topic": "no.such.topic"}, "no.such.topic"),
    ],
    ids=["too large", "nonsense header", "nonsense uri", "no record", "no topic"],
)
async def test_a_letter_that_cannot_be_replayed_is_named_and_the_others_are_replayed(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    blobs = BlobFolder(tmp_path / "blobs")
    async with log_of(tmp_path) as log:
        await log.publish([written(0), written(1, **changes), written(2)])
        letters = DeadLetters(log)
        replay = await letters.replay(await letters.choose(), blobs)
        assert replay.replayed == 2
        ((skipped, reason),) = replay.skipped
        assert skipped.letter.id == frame_id("default", "lobby", "1")
        assert why in reason
        assert [entry.letter.id for entry in await letters.choose()] == [skipped.letter.id]
        assert sum(end - first for first, end in (await log.ends(topics.RAW)).values()) == 2
    await blobs.close()


@pytest.mark.parametrize(("trimmed", "why"), [(False, "its original is gone"), (True, "retention removed the picture")])
async def test_a_letter_whose_picture_is_gone_stays_and_says_why(tmp_path: Path, trimmed: bool, why: str) -> None:  # noqa: FBT001
    event, blobs = frame_event("0", b"pixels", inline=False), BlobFolder(tmp_path / "blobs")
    record = {"value": encode_frame(event), "headers": frame_headers(event, RAW_TYPE)}
    async with log_of(tmp_path) as log:
        await log.create([TopicSpec(topics.TRIMMED, 1, compacted=True)])
        await log.publish([written(1, **record)])
        if trimmed:
            before = event.ingested + timedelta(seconds=1)
            await log.publish([trimmed_record(Trimmed(tenant="default", feed="lobby", before=before))])
        letters = DeadLetters(log)
        replay = await letters.replay(await letters.choose(), blobs)
        ((_, reason),) = replay.skipped
        assert why in reason
        assert len(await letters.choose()) == 1, "the letter stays"
        assert sum(end - first for first, end in (await log.ends(topics.RAW)).values()) == 0
        await blobs.put("default", event.image.uri, b"pixels")
        assert (await letters.replay(await letters.choose(), blobs)).replayed == 1
    await blobs.close()


async def test_a_letter_with_a_header_without_value_is_listed_and_replayed(tmp_path: Path) -> None:
    async with log_of(tmp_path) as log:
        await log.publish([written(1, headers={"trace": None, "ce_id": b"7"})])
        letters = DeadLetters(log)
        (entry,) = await letters.choose()
        assert entry.letter.headers == {"trace": b"", "ce_id": b"7"}
        assert (await letters.replay([entry])).replayed == 1
        assert await letters.choose() == []


async def test_records_that_are_no_letters_are_counted_and_hide_none(tmp_path: Path) -> None:
    nonsense: list[dict[str, Any]] = [{"headers": {"a": 7}}, {"died": "yesterday"}, {"offset": "first"}]
    async with log_of(tmp_path) as log:
        await log.publish([written(1), *(written(2, **changes) for changes in nonsense)])
        await log.publish([NewRecord(topics.DEAD, b"\xff", b"no letter", {})])
        await log.publish([NewRecord(topics.DEAD, written(1).key, b"", {CLOSES_HEADER: b"nonsense"})])
        letters = DeadLetters(log)
        assert [entry.letter.id for entry in await letters.choose()] == [frame_id("default", "lobby", "1")]
        assert letters.unreadable == 5
