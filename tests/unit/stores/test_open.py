"""Configuration strings open the store that they name, and a wrong one says what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stores.edge.client import EdgeIndex
from stores.folder import BlobFolder
from stores.object_store import ObjectBlobs
from stores.open import open_blobs, open_index
from stores.server import ServerIndex


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("edge:some/folder", EdgeIndex),
        ("edge:/some/folder", EdgeIndex),
        ("http://localhost:6333", ServerIndex),
        ("https://cluster.example:6333/prefix?grpc_port=7334", ServerIndex),
    ],
)
def test_an_index_is_named_by_folder_or_url(where: str, kind: type) -> None:
    assert isinstance(open_index(where), kind)


@pytest.mark.parametrize("where", ["", "edge:", "edge", "some/folder", "qdrant://host", "http:host", "ftp://host"])
def test_another_index_is_refused_with_what_is_allowed(where: str) -> None:
    with pytest.raises(ValueError, match=r"edge:FOLDER.*http://HOST:6333"):
        open_index(where)


def test_blobs_are_named_by_folder_or_url(tmp_path: Path) -> None:
    assert isinstance(open_blobs("some/folder"), BlobFolder)
    assert isinstance(open_blobs(f"file://{tmp_path}"), BlobFolder)
    for where in ("s3://bucket/prefix", "gs://bucket"):
        assert isinstance(open_blobs(where), ObjectBlobs)


@pytest.mark.parametrize("where", ["", "ftp://host/path", "http://host", "file://host/path"])
def test_other_blobs_are_refused_with_what_is_allowed(where: str) -> None:
    with pytest.raises(ValueError, match=r"a folder, file:///FOLDER.*s3://"):
        open_blobs(where)


def test_an_incomplete_object_store_is_refused_with_its_cause() -> None:
    with pytest.raises(ValueError, match=r"az://container.*Account"):
        open_blobs("az://container/prefix")
