"""Notes beside the blobs, in a folder and on a real S3 server: whole, in order, and never taken for blobs."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.s3 import S3Server
from stores.blobs import BlobStore
from stores.errors import Missing, Refused
from stores.notes import Notes
from stores.open import open_blobs, open_notes
from streams.lifecycle.deletion_notes import DeletionNotes
from streams.lifecycle.deletions import Deletions
from tests.contract.blob_suite import sizes, uri
from tests.support.s3_server import s3, s3_server
from tests.unit.streams.lifecycle.test_deletion_copy import deletion, opened

__all__ = ["s3", "s3_server"]


class NotesSuite:
    @pytest.fixture
    def where(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def notes(self, where: str) -> Notes:
        return open_notes(where, "deletions.shop")

    @pytest.fixture
    def blobs(self, where: str) -> BlobStore:
        return open_blobs(where)

    async def test_a_note_is_replaced_as_a_whole_and_deleted(self, notes: Notes) -> None:
        assert list(await notes.names()) == []
        await notes.delete("compared.json")
        for content in (b"first, and longer", b"second"):
            await notes.put("compared.json", content)
            assert await notes.get("compared.json") == content
        await notes.put("another", b"")
        assert list(await notes.names()) == ["another", "compared.json"]
        await notes.delete("compared.json")
        with pytest.raises(Missing):
            await notes.get("compared.json")
        assert list(await notes.names()) == ["another"]

    async def test_notes_are_no_blobs_and_not_those_of_another_namespace(
        self, where: str, notes: Notes, blobs: BlobStore
    ) -> None:
        await blobs.put("default", uri(b"picture"), b"picture")
        await notes.put("a" * 64, b"deletion")
        assert list(await sizes(blobs, "default")) == [uri(b"picture")]
        assert list(await blobs.days("default")) == ["lobby"]
        for about in ("deletions", "deletions.sho"):
            assert list(await open_notes(where, about).names()) == []

    async def test_deletions_survive_the_loss_of_the_log(self, notes: Notes, tmp_path: Path) -> None:
        requested = [deletion(f"frame {number}") for number in range(3)]
        async with opened(tmp_path / "log.sqlite") as transport:
            await DeletionNotes(notes).request(transport, requested)
        async with opened(tmp_path / "new.sqlite") as transport:
            assert await DeletionNotes(notes).restore(transport) == 3
            assert await Deletions(transport).catch_up() == [each.frame for each in requested]
            assert await DeletionNotes(notes).restore(transport) == 0

    async def test_a_name_that_leads_elsewhere_is_refused(self, notes: Notes) -> None:
        for name in ("../note", "", ".hidden", "folder/note", "Note"):
            with pytest.raises(Refused):
                await notes.put(name, b"deletion")


class TestFolder(NotesSuite):
    @pytest.fixture
    def where(self, tmp_path: Path) -> str:
        return str(tmp_path / "blobs")


class TestS3(NotesSuite):
    @pytest.fixture
    def where(self, s3: S3Server) -> str:
        s3.bucket("notes")
        return f"s3://notes/{uuid4().hex}"
