"""An index folder that may not be written is searched, and refuses changes with the way out."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.edge.client import EdgeIndex
from stores.errors import StoreBlocked
from tests.contract.index_suite import FRAMES, SPEC, direction, numbers
from tests.support.edge_folder import edge_folder, end


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with edge_folder(tmp_path / "index") as folder:
        yield folder


@pytest.fixture
def read_only(folder: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder's place where it cannot be written: root may write to every folder, but not to every mount."""
    place = tmp_path / "read-only"
    folder.mkdir()
    place.mkdir()
    if subprocess.run(("mount", "--bind", str(folder), str(place)), check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    subprocess.run(("mount", "-o", "remount,ro,bind", str(place)), check=True)
    yield place
    subprocess.run(("umount", "-l", str(place)), check=True)


async def test_a_read_only_folder_is_searched_and_refuses_changes(
    folder: Path, read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    index = EdgeIndex(folder)
    await index.ensure(SPEC, "frames")
    await index.upsert("frames", FRAMES)
    await index.close()
    end(folder, signal.SIGTERM)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for _ in range(2):
        index = EdgeIndex(read_only)
        assert numbers(await index.search("frames", "semantic", direction(1), limit=1)) == [2]
        with pytest.raises(StoreBlocked, match=r"read-only may not be written.*make it writable"):
            await index.upsert("frames", FRAMES)
        assert await index.count("frames") == 4
        await index.close()
        assert list(copies.iterdir()) == []
    index = EdgeIndex(read_only)
    with pytest.raises(StoreBlocked, match="may not be written"):
        await index.upsert("frames", FRAMES)
    await index.close()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
