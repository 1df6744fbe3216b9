"""What a backup's manifest holds, and how it is written: last, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from streams.errors import StreamError

FILE = "backup.json"
FORMAT = 1


class BadBackup(StreamError):  # noqa: N818 - named for the state
    """The folder holds no whole backup, or one of its files is damaged; the message names it and the way out."""


class StoredFile(Struct, frozen=True, array_like=True):
    """A file of the log or the index: its parts in order, each an object named by its SHA-256; empty is all zeros."""

    bytes: int
    parts: list[str]


class StoredPicture(Struct, frozen=True, array_like=True):
    """An original or a thumbnail."""

    bytes: int
    sha256: str
    modified_ns: int


class StoredDeletion(Struct, frozen=True, array_like=True):
    """A record of `deletions` that was written while the backup was made; `value` None takes a deletion back."""

    key: bytes
    value: bytes | None
    headers: dict[str, bytes]


class Manifest(Struct, frozen=True, kw_only=True):
    """One moment of a deployment. A part that is None lives elsewhere, and is not in the backup."""

    format: int = FORMAT
    version: str
    """Of Sightline."""
    made: datetime
    source: str
    """The data folder."""
    log: StoredFile | None = None
    index: dict[str, StoredFile] | None = None
    """By path below the index folder."""
    pictures: dict[str, StoredPicture] | None = None
    """By path below the blob folder."""
    ends: dict[str, list[int]] = {}
    """By topic, the next offset of each partition, as of a moment just before the log's copy."""
    records: int = 0
    """On all topics, at that moment."""
    points: dict[str, int] = {}
    """By collection, the number of points."""
    deletions: list[StoredDeletion] = []

    @property
    def objects(self) -> set[str]:
        """The names of all objects that it needs."""
        files = [*(self.index or {}).values(), *([self.log] if self.log else [])]
        return {part for file in files for part in file.parts if part}


class _Sealed(Struct, frozen=True):
    """The manifest and its own SHA-256."""

    sha256: str
    backup: msgspec.Raw


def encode(manifest: Manifest) -> bytes:
    body = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Sealed(hashlib.sha256(body).hexdigest(), msgspec.Raw(body)))


def read(folder: Path) -> Manifest | None:
    """The manifest of the last whole backup in `folder`; None if there is none. Raises BadBackup if it is damaged."""
    path = folder / FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        sealed = msgspec.json.decode(content, type=_Sealed)
        body = bytes(sealed.backup)
        if hashlib.sha256(body).hexdigest() != sealed.sha256:
            raise BadBackup(f"{path} is damaged: its content does not have the SHA-256 that it names")
        if (written := msgspec.json.decode(body, type=_Format).format) > FORMAT:
            raise BadBackup(f"{path} has format {written}, newer than this version's {FORMAT}: update Sightline")
        manifest = msgspec.json.decode(body, type=Manifest)
        _check_paths(path, [*(manifest.index or ()), *(manifest.pictures or ())])
        return manifest
    except msgspec.MsgspecError as error:
        raise BadBackup(f"{path} is damaged: {error}") from error


def _check_paths(manifest: Path, paths: Iterable[str]) -> None:
    """Raises BadBackup where a restore would write outside its folders: a backup may come from elsewhere."""
    for path in paths:
        if not path or path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise BadBackup(f"{manifest} was not written by Sightline: it names the file {path[:200]!r}; do not use it")


class _Format(Struct, frozen=True):
    format: int
