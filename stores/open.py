"""Opens the store that a configuration string names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from stores.blobs import BlobStore
from stores.folder import BlobFolder
from stores.index import Index
from stores.notes import FolderNotes, Notes

OBJECT_SCHEMES = ("s3", "gs", "az")
NOTES_RETRY_SECONDS = 5.0
"""Notes are read by commands that can do without them."""


def open_index(where: str) -> Index:
    """The index at `where`: `edge:FOLDER` (embedded) or `http://HOST:6333`, `https://…` (a Qdrant server).

    Nothing is connected yet. Raises ValueError saying what is allowed.
    """
    scheme, _, rest = where.partition(":")
    if scheme == "edge" and rest:
        from stores.edge.client import EdgeIndex

        return EdgeIndex(Path(rest))
    if scheme in ("http", "https") and rest.startswith("//"):
        from stores.server import ServerIndex

        return ServerIndex(where)
    raise ValueError(f"index {where!r}: use edge:FOLDER, or the URL of a Qdrant server such as http://HOST:6333")


def open_blobs(where: str) -> BlobStore:
    """The blob store at `where`: a folder, `file:///FOLDER`, or an object store (`s3://BUCKET/PREFIX`, `gs://`, `az://`).

    Nothing is connected yet. Raises ValueError saying what is allowed.
    """
    if (folder := blob_folder(where)) is not None:
        # Not obstore's local store, which does not sync.
        return BlobFolder(folder)
    if where.partition("://")[0] in OBJECT_SCHEMES and "://" in where:
        from stores.object_store import ObjectBlobs

        return ObjectBlobs(where)
    raise ValueError(f"blobs {where!r}: use a folder, file:///FOLDER, or s3://, gs://, az:// with BUCKET/PREFIX")


def open_notes(where: str, about: str) -> Notes:
    """Those that lie beside the blobs at `where`. Raises ValueError as `open_blobs`."""
    if (folder := blob_folder(where)) is not None:
        return FolderNotes(folder, about)
    from stores.object_store import ObjectNotes

    return ObjectNotes(where, about, retry_seconds=NOTES_RETRY_SECONDS)


def blob_folder(where: str) -> Path | None:
    """The folder of the blob store at `where`; None for an object store."""
    scheme, colon, rest = where.partition("://")
    if where and not colon:
        return Path(where)
    return Path(unquote(rest)) if scheme == "file" and rest.startswith("/") else None
