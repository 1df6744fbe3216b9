"""An index folder that is moved while its process runs, and another in its place: as where a backup is restored."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from stores.edge.client import EdgeIndex
from stores.edge.process_files import LOCK
from tests.contract.index_suite import FRAMES, SPEC
from tests.support.edge_folder import edge_folder, process_id, until


def is_free(lock: TextIO) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


async def test_the_former_process_ends_and_leaves_what_is_there_now(tmp_path: Path) -> None:
    with edge_folder(tmp_path / "index") as folder, edge_folder(tmp_path / "moved"):
        index = EdgeIndex(folder)
        await index.ensure(SPEC, "frames")
        await index.upsert("frames", FRAMES)
        await index.snapshot(tmp_path / "copy")
        await index.close()
        former = process_id(folder)
        folder.rename(tmp_path / "moved")
        (tmp_path / "copy").rename(folder)
        index = EdgeIndex(folder)
        assert await index.count("frames") == len(FRAMES)
        with (tmp_path / "moved" / LOCK).open() as lock:
            await until(lambda: is_free(lock))
        later = EdgeIndex(folder)
        assert await later.count("frames") == len(FRAMES), "its socket is there"
        assert process_id(folder) != former
        await later.close()
        await index.close()
