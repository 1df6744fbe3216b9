"""An embedded index that is opened on a disk that is nearly full: nothing of it is damaged, all it needs is room."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.edge.client import EdgeIndex
from stores.errors import Damaged, StoreBlocked
from tests.contract.index_suite import FRAMES, SPEC
from tests.support.edge_folder import edge_folder, end
from tests.support.small_disk import small_disk

LEFT_BYTES = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, "200m") as disk:
        yield disk


async def test_an_index_on_a_full_disk_is_not_taken_for_a_damaged_one(disk: Path) -> None:
    """Recordings filled the disk, and the machine was switched off and on."""
    with edge_folder(disk / "index") as folder:
        index = EdgeIndex(folder)
        await index.ensure(SPEC, "frames")
        await index.upsert("frames", FRAMES)
        await index.flush()
        await index.close()
        end(folder, signal.SIGKILL)
        state = os.statvfs(disk)
        with (disk / "recordings").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - LEFT_BYTES)
        index = EdgeIndex(folder)
        with pytest.raises(StoreBlocked, match="make room on its disk") as refused:
            await index.count("frames")
        await index.close()
        assert not isinstance(refused.value, Damaged)
        (disk / "recordings").unlink()
        index = EdgeIndex(folder)
        assert await index.count("frames") == len(FRAMES)
        await index.close()
