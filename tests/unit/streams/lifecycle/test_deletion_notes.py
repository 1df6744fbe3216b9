"""The copy of deletions beside the pictures, with logs of different age and requests that were broken off."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import structlog.testing

from stores.notes import FolderNotes
from streams.errors import Unavailable
from streams.lifecycle.deletion_notes import COMPARED, DeletionNotes
from streams.lifecycle.deletions import Deletions, publish_deletions
from streams.sqlite.transport import SqliteTransport
from tests.support.damage import DAMAGES, Damage
from tests.unit.streams.lifecycle.test_deletion_copy import deletion, opened

REQUESTED = [deletion(f"frame {number}") for number in range(6)]


@pytest.fixture
def notes(tmp_path: Path) -> FolderNotes:
    return FolderNotes(tmp_path, "deletions")


async def test_an_older_copy_of_the_log_is_told_from_the_one_that_was_compared(
    tmp_path: Path, notes: FolderNotes
) -> None:
    copy = DeletionNotes(notes)
    async with opened(tmp_path / "log.sqlite") as transport:
        assert await copy.restore(transport) == 0
        assert list(await notes.names()) == []
        await copy.request(transport, REQUESTED[:2])
    shutil.copy(tmp_path / "log.sqlite", tmp_path / "older.sqlite")
    async with opened(tmp_path / "log.sqlite") as transport:
        await copy.request(transport, REQUESTED[2:])
        assert await copy.restore(transport) == 0
    async with opened(tmp_path / "older.sqlite") as transport:
        assert await copy.restore(transport) == 4
        assert await Deletions(transport).catch_up() == [entry.frame for entry in REQUESTED]
        for name in await notes.names():
            if name != COMPARED:
                await notes.delete(name)
        assert await copy.restore(transport) == 0  # what was compared is not read again


async def test_a_request_that_was_broken_off_before_the_log_had_it_is_requested_again(
    tmp_path: Path, notes: FolderNotes
) -> None:
    copy = DeletionNotes(notes)
    async with opened(tmp_path / "log.sqlite") as transport:
        await copy.request(transport, REQUESTED[:1])
    with pytest.raises(Unavailable):
        await copy.request(SqliteTransport(tmp_path / "log.sqlite"), REQUESTED[1:])  # not opened
    async with opened(tmp_path / "log.sqlite") as transport:
        assert await copy.restore(transport) == 5


async def test_notes_learn_the_deletions_of_a_log_that_is_older_than_they_are(
    tmp_path: Path, notes: FolderNotes
) -> None:
    async with opened(tmp_path / "log.sqlite") as transport:
        await publish_deletions(transport, REQUESTED)
        assert await DeletionNotes(notes).restore(transport) == 0
    async with opened(tmp_path / "new.sqlite") as transport:
        assert await DeletionNotes(notes).restore(transport) == 6


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_note_is_told_and_the_log_fills_what_it_lacks(
    tmp_path: Path, notes: FolderNotes, damage: Damage
) -> None:
    copy = DeletionNotes(notes)
    async with opened(tmp_path / "log.sqlite") as transport:
        await copy.request(transport, REQUESTED)
        (name,) = [name for name in await notes.names() if name != COMPARED]
        damage.do(tmp_path / ".notes" / "deletions" / name)
        await notes.delete(COMPARED)
        with structlog.testing.capture_logs() as lines:
            assert await copy.restore(transport) == 0
        assert [line["note"] for line in lines if line["event"] == "deletions_note_damaged"] == [name]
    async with opened(tmp_path / "new.sqlite") as transport:
        assert await copy.restore(transport) >= 6
        assert set(await Deletions(transport).catch_up()) >= {entry.frame for entry in REQUESTED}
