"""Small files that lie beside the blobs and are none: no listing, retention or check of pictures meets them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

from stores.errors import Missing, Refused, store_unavailable
from stores.folder_sync import sync_folder

T = TypeVar("T")
NOTES = ".notes"
"""Folder or prefix in the blob store; no tenant's name begins with a dot."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Notes(Protocol):
    """Notes of one topic of their own, each with a name (letters in lower case, digits, `.`, `_`, `-`).

    All calls raise StoreUnavailable when the store is unavailable, and Refused for another name.
    """

    async def put(self, name: str, content: bytes) -> None:
        """Write durably and as a whole; takes the place of a note of that name."""

    async def get(self, name: str) -> bytes:
        """Raises Missing."""

    async def delete(self, name: str) -> None:
        """Remove durably; a missing note is no error."""

    async def names(self) -> Sequence[str]:
        """In order."""
        ...


class FolderNotes:
    """`Notes` in a folder of blobs. Nothing is created before the first note."""

    def __init__(self, root: Path, about: str) -> None:
        self._folder = root / note_path(about)

    async def put(self, name: str, content: bytes) -> None:
        target = self._folder / checked(name)
        await self._run(lambda: self._write(target, content))

    async def get(self, name: str) -> bytes:
        path = self._folder / checked(name)
        return await self._run(lambda: _read(path))

    async def delete(self, name: str) -> None:
        path = self._folder / checked(name)
        await self._run(lambda: self._remove(path))

    async def names(self) -> Sequence[str]:
        return await self._run(self._listed)

    async def _run(self, action: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(action)
        except OSError as error:
            raise store_unavailable(f"the notes in {self._folder}", error) from error

    def _write(self, target: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f".{uuid4().hex}"
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
        for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
            sync_folder(folder)

    def _remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            path.unlink()
            sync_folder(self._folder)

    def _listed(self) -> list[str]:
        try:
            return sorted(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []


def note_path(about: str) -> str:
    """Of the notes of a topic, below the blob store's root."""
    return f"{NOTES}/{checked(about)}"


def checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Refused(f"not a note's name: {name[:200]!r}")
    return name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Missing(f"no note {path}") from None
