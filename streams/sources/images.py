"""Still pictures: a folder, a glob, or single files. `streams.sources.urls` reads lists from standard input.

The first bytes of a file say what it is. A file that is not a picture is refused with a reason; the others are read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

from schemas.events import Kind
from schemas.identity import still_position
from schemas.pictures import FORMATS, picture_format
from streams.sources.exclusion import Exclusion
from streams.sources.file_search import FileSearch
from streams.sources.source import LeftOut, Offer, Picture, Refusal, Repeated, Seen, UnreadableSource, is_picture
from streams.sources.thread_iterator import iterate_in_thread

MAX_PICTURE_BYTES = 64 << 20
"""A 100-megapixel JPEG has some 40 MB; no camera writes larger pictures."""
_CHUNK_FILES = 8
Paths = Callable[[], Iterable[Path]]


class ImagesSource:
    """`paths` is called in a thread and may block; `count` is the number of files, None if unknown.

    `first` is offered before the files.
    """

    kind: Kind = "still"
    repeatable = True

    def __init__(
        self, paths: Paths, *, count: int | None = None, limit: int | None = None, first: Sequence[Offer] = ()
    ) -> None:
        self._paths = paths
        self._first = first
        self._count = count
        self._limit = limit

    async def total(self) -> int | None:
        return min((n for n in (self._count, self._limit) if n is not None), default=None)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        offered = 0
        for offer in self._first:
            yield offer
        async with aclosing(iterate_in_thread(self._read(seen), _CHUNK_FILES)) as chunks:
            async for chunk in chunks:
                for offer in chunk:
                    yield offer
                    offered += is_picture(offer)
                    if offered == self._limit:
                        return

    def _read(self, seen: Seen) -> Generator[Offer, None, None]:
        for path in self._paths():
            yield read_picture(path, seen)


def read_picture(path: Path, seen: Seen) -> Offer:
    """The picture in a file, or a refusal with the reason; does not raise."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Refusal(str(path), "not_a_file", f"{path}: not a regular file")
        if not 0 < status.st_size <= MAX_PICTURE_BYTES:
            reason = "too_large" if status.st_size else "empty"
            message = f"{path}: has {status.st_size} bytes; 1 to {MAX_PICTURE_BYTES} are accepted"
            return Refusal(str(path), reason, message)
        content = path.read_bytes()
    except FileNotFoundError:
        return Refusal(str(path), "missing", f"{path}: no such file")
    except (OSError, ValueError) as error:
        return Refusal(str(path), "unreadable", f"{path}: {getattr(error, 'strerror', None) or error}")
    image_format = picture_format(content)
    if image_format is None:
        return Refusal(str(path), "not_a_picture", f"{path}: not {FORMATS}; convert it")
    name = stable_path(path)
    position = still_position(name, hashlib.sha256(content).hexdigest())
    return Repeated(position) if seen(position) else Picture(position, content, image_format, origin=name)


def is_animated_gif(path: Path) -> bool:
    """Whether a GIF has several frames: given by itself it is a video, in a folder its first frame is a picture."""
    from PIL import Image

    try:
        with Image.open(path, formats=("GIF",)) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, EOFError):
        return False


def stable_path(path: Path) -> str:
    """The resolved path: the same however the file was named; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path.resolve()).decode(errors="backslashreplace")


def from_folder(folder: Path, *, limit: int | None = None, exclusion: Exclusion | None = None) -> ImagesSource:
    """All files below `folder` in order of their paths, without hidden and excluded ones; links to folders are not
    followed. Raises UnreadableSource.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UnreadableSource(f"{folder}: not readable by this user; change its permissions")
    search = FileSearch(exclusion or Exclusion())
    search.below(folder)
    return _found(search, limit, f"{folder}: no files; give a folder with pictures ({FORMATS})")


def from_glob(pattern: str, *, limit: int | None = None, exclusion: Exclusion | None = None) -> ImagesSource:
    """Files that match a pattern (`**` for any depth), in order of their paths. Raises UnreadableSource."""
    search = FileSearch(exclusion or Exclusion())
    search.matching(pattern)
    nothing = f"{pattern}: no file matches this pattern; quote it, so that the shell does not expand it"
    return _found(search, limit, nothing)


def _found(search: FileSearch, limit: int | None, nothing: str) -> ImagesSource:
    """Raises UnreadableSource with the text `nothing` where the search found nothing at all."""
    if not (search.paths or search.refusals or search.left_out):
        raise UnreadableSource(nothing)
    first: list[Offer] = [*search.refusals, *([LeftOut(search.left_out)] if search.left_out else [])]
    return ImagesSource(lambda: search.paths, count=len(search.paths) + len(search.refusals), limit=limit, first=first)


def from_files(paths: Iterable[Path], *, limit: int | None = None) -> ImagesSource:
    listed = list(paths)
    return ImagesSource(lambda: listed, count=len(listed), limit=limit)
