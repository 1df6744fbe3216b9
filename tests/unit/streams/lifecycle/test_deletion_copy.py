"""The second copy of requested deletions: after a crash in the middle of a line, and beside logs of different age."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing

from schemas import topics
from schemas.events import Deletion
from streams.lifecycle.deletion_copy import DeletionCopy
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.sqlite.transport import SqliteTransport
from streams.transport import TopicSpec
from tests.support.damage import DAMAGES, Damage
from tests.support.pictures import START


def deletion(frame: str) -> Deletion:
    return Deletion(frame=frame, tenant="default", feed="lobby", requested=START)


async def test_a_line_that_was_cut_off_takes_no_later_request_with_it(tmp_path: Path) -> None:
    copy = DeletionCopy(tmp_path)
    await copy.append([deletion("first"), deletion("torn")])
    copy.path.write_bytes(copy.path.read_bytes()[:-20])
    await copy.append([deletion("later")])
    assert copy.read().keys() == {"first", "later"}


async def test_an_older_copy_of_the_log_is_told_from_the_one_that_was_compared(tmp_path: Path) -> None:
    """Many deletions are not compared at every start; however the log was replaced, none is lost."""
    copy, requested = DeletionCopy(tmp_path), [deletion(f"frame {number}") for number in range(3)]
    async with opened(tmp_path / "log.sqlite") as transport:
        await publish_deletions(transport, requested[:1])
    shutil.copy(tmp_path / "log.sqlite", tmp_path / "older.sqlite")
    await copy.append(requested[:2])
    async with opened(tmp_path / "log.sqlite") as transport:
        assert await copy.restore(transport) == 1
        assert await copy.restore(transport) == 0
        copy.path.unlink()
        await copy.append(requested)
        assert await copy.restore(transport) == 1
    async with opened(tmp_path / "older.sqlite") as transport:
        assert await copy.restore(transport) == 2
        await copy.restore(transport)
        assert await Deletions(transport).catch_up() == [entry.frame for entry in requested]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_that_is_cut_or_flipped_is_told_and_written_again(tmp_path: Path, damage: Damage) -> None:
    copy, requested = DeletionCopy(tmp_path), [deletion(f"frame {number}") for number in range(6)]
    await copy.append(requested)
    async with opened(tmp_path / "log.sqlite") as transport:
        assert await copy.restore(transport) == 6
        damage.do(copy.path)
        with structlog.testing.capture_logs() as lines:
            await copy.restore(transport)
        assert [line["file"] for line in lines if line["event"] == "deletions_copy_damaged"] == [str(copy.path)]
    assert copy.read().keys() >= {entry.frame for entry in requested}
    async with opened(tmp_path / "log.sqlite") as transport:
        with structlog.testing.capture_logs() as lines:
            assert await copy.restore(transport) == 0
        assert not lines


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteTransport]:
    transport = SqliteTransport(path)
    await transport.open()
    await transport.create([TopicSpec(topics.DELETIONS, 2, compacted=True)])
    yield transport
    await transport.close()
