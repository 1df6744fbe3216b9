"""Checks a log's write-ahead log before it is used: SQLite takes a damaged one for a shorter one."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from streams.sqlite.failures import damaged

WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
SALTS = slice(16, 24)
"""In the header of the write-ahead log: every frame repeats them, so frames of an earlier log do not count."""
SHM_HEADER_BYTES, SHM_FRAMES, SHM_SALTS = 48, slice(16, 20), slice(32, 40)
"""In the index of the write-ahead log: its frames that were synchronized and committed, and its salts."""
END_FRAMES = 32
"""The last frames, which are checked here: what SQLite leaves out of its end, it leaves out silently."""


def is_wal_header(header: bytes) -> bool:
    """Its magic number and its checksum, as SQLite's file format has them; it is written and synchronized first."""
    if len(header) < WAL_HEADER_BYTES or header[:4] not in WAL_MAGIC:
        return False
    return header[24:] == checksum(header, header[:24], bytes(8))


def checksum(header: bytes, content: bytes, before: bytes) -> bytes:
    """SQLite's checksum of `content`, continued from the one before it."""
    first, second = struct.unpack(">2I", before)
    words = struct.unpack(f"{'>' if header[3] & 1 else '<'}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second)


class WalCheck:
    """Whether commits in the write-ahead log are lost: SQLite ends it silently at the first frame that is not whole.

    Made before SQLite opens the file, while the index still says how many frames were committed; `verify` compares
    that with what SQLite accepted, and looks for commits behind it. A power cut tears the last commit only, which was
    not acknowledged.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._wal = path, path.with_name(path.name + "-wal")
        self._shm = path.with_name(path.name + "-shm")
        self._salts = self._wal_salts()
        self._committed = self._indexed_frames()
        if self._committed and not self._has_whole_end(self._committed) and self._indexed_frames() == self._committed:
            raise self._lost(None)

    @property
    def has_frames(self) -> bool:
        return bool(self._salts)

    def verify(self) -> None:
        """Call it once a connection has read the log, and is closed. Raises DamagedLog."""
        if not self._salts or self._wal_salts() != self._salts:
            return  # nothing was in it, or another process has begun it again
        accepted = self._indexed_frames()
        if accepted is None:
            return
        if self._committed is not None and accepted < self._committed:
            raise self._lost(self._committed - accepted)
        if self._commits_behind(accepted) > 1 and self._indexed_frames() == accepted:  # else another process writes
            raise self._lost(None)

    def _has_whole_end(self, frames: int) -> bool:
        """Whether the last of the committed frames are there and are whole: each continues the checksum before it."""
        with suppress(OSError), self._wal.open("rb") as file:
            header = file.read(WAL_HEADER_BYTES)
            if header[SALTS] != self._salts:
                return True  # another process has begun it again
            size = FRAME_HEADER_BYTES + int.from_bytes(header[8:12], "big")
            first = max(0, frames - END_FRAMES)
            file.seek(WAL_HEADER_BYTES + (first - 1) * size + 16 if first else WAL_HEADER_BYTES - 8)
            before = file.read(8)
            file.seek(WAL_HEADER_BYTES + first * size)
            for _ in range(first, frames):
                frame = file.read(size)
                if len(frame) < size or frame[8:16] != self._salts:
                    return False
                content = frame[:8] + frame[FRAME_HEADER_BYTES:]
                if (before := checksum(header, content, before)) != frame[16:FRAME_HEADER_BYTES]:
                    return False
        return True

    def _lost(self, pages: int | None) -> Exception:
        what = "pages" if pages is None else f"{pages} pages"
        return damaged(self._path, f"{self._wal.name} is cut off or damaged: {what} that were written are not whole")

    def _wal_salts(self) -> bytes:
        with suppress(OSError), self._wal.open("rb") as file:
            return file.read(WAL_HEADER_BYTES)[SALTS]
        return b""

    def _indexed_frames(self) -> int | None:
        """Committed frames, as the index of this write-ahead log has them; None: it is that of another, or none."""
        with suppress(OSError), self._shm.open("rb") as file:
            header = file.read(SHM_HEADER_BYTES)
            copy = file.read(SHM_HEADER_BYTES)
            if len(copy) == SHM_HEADER_BYTES and header == copy and header[SHM_SALTS] == self._salts:
                return int(struct.unpack("=I", header[SHM_FRAMES])[0])
        return None

    def _commits_behind(self, frames: int) -> int:
        """Commits with this log's salts behind the first `frames`."""
        with suppress(OSError), self._wal.open("rb") as file:
            page = int.from_bytes(file.read(WAL_HEADER_BYTES)[8:12], "big")
            file.seek(WAL_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page))
            commits = 0
            while len(header := file.read(FRAME_HEADER_BYTES)) == FRAME_HEADER_BYTES and commits < 2:
                commits += header[8:16] == self._salts and header[4:8] != bytes(4)
                file.seek(page, 1)
            return commits
        return 0
