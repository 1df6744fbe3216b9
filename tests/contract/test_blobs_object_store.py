"""The blob contract through obstore: on a real S3 server, in memory, in a folder; and without a reachable store."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.s3 import S3Server
from stores.blobs import BlobStore, blob_path
from stores.errors import Refused, StoreUnavailable
from stores.object_store import ObjectBlobs
from tests.contract.blob_suite import BlobSuite, uri
from tests.support.qdrant_server import free_port
from tests.support.s3_server import s3, s3_server

__all__ = ["s3", "s3_server"]


class TestMemory(BlobSuite):
    @pytest.fixture
    def blobs(self) -> BlobStore:
        return ObjectBlobs("memory:///")


class TestLocal(BlobSuite):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return ObjectBlobs(f"file://{tmp_path}")


class TestS3(BlobSuite):
    @pytest.fixture
    def blobs(self, s3: S3Server) -> BlobStore:
        s3.bucket("blobs")
        return ObjectBlobs(f"s3://blobs/{uuid4().hex}")


async def test_damage_in_the_store_is_noticed(tmp_path: Path) -> None:
    blobs = ObjectBlobs(f"file://{tmp_path}")
    await blobs.put("default", uri(b"picture"), b"picture")
    (tmp_path / blob_path(uri(b"picture"), "default")).write_bytes(b"pictura")
    with pytest.raises(Refused, match="content"):
        await blobs.get("default", uri(b"picture"))


async def test_an_unreachable_store_is_named_without_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    blobs = ObjectBlobs("s3://bucket/prefix", retry_seconds=0.2)
    for call in (
        blobs.put("default", uri(b"picture"), b"picture"),
        blobs.get("default", uri(b"picture")),
        blobs.delete("default", uri(b"picture")),
    ):
        with pytest.raises(StoreUnavailable, match="s3://bucket/prefix") as unavailable:
            await call
        assert "very-secret" not in str(unavailable.value)
        assert "\n" not in str(unavailable.value)
