"""The blob contract on a folder, and what holds for a folder alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stores.blobs import blob_path
from stores.errors import Refused, StoreUnavailable
from stores.folder import PARTIAL, BlobFolder
from tests.contract.blob_suite import BlobSuite, uri

PUT_UNTIL_KILLED = """
import asyncio, random, sys
from pathlib import Path
from stores.folder import BlobFolder
from tests.contract.blob_suite import uri

async def main():
    blobs = BlobFolder(Path(sys.argv[1]))
    while True:
        contents = [random.randbytes(300_000) for _ in range(8)]
        for put in asyncio.as_completed([put_one(blobs, content) for content in contents]):
            print(await put, flush=True)

async def put_one(blobs, content):
    await blobs.put("default", uri(content), content)
    return uri(content)

asyncio.run(main())
"""


class TestBlobFolder(BlobSuite):
    @pytest.fixture
    async def blobs(self, tmp_path: Path) -> AsyncIterator[BlobFolder]:
        blobs = BlobFolder(tmp_path / "blobs")
        yield blobs
        await blobs.close()


async def test_blobs_lie_where_their_uris_say(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    await blobs.put("default", uri(b"picture"), b"picture")
    assert (tmp_path / blob_path(uri(b"picture"), "default")).read_bytes() == b"picture"
    assert list((tmp_path / PARTIAL).iterdir()) == []
    await blobs.close()


async def test_damage_on_the_disk_is_noticed(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    await blobs.put("default", uri(b"picture"), b"picture")
    (tmp_path / blob_path(uri(b"picture"), "default")).write_bytes(b"pictura")
    with pytest.raises(Refused, match="content"):
        await blobs.get("default", uri(b"picture"))
    await blobs.close()


async def test_a_root_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    blobs = BlobFolder(tmp_path / "file")
    with pytest.raises(StoreUnavailable, match="file"):
        await blobs.put("default", uri(b"picture"), b"picture")
    await blobs.close()


async def test_a_listing_says_what_the_disk_gives_to_each_blob(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    for content in (b"small", bytes(10_000)):
        await blobs.put("default", uri(content), content)
    listed = {blob.uri: blob.size_bytes async for blob in blobs.list("default")}
    taken = {blob: (tmp_path / blob.removeprefix("blob:")).stat().st_blocks * 512 for blob in listed}
    assert listed == taken
    assert sum(listed.values()) > 10_005
    await blobs.close()


async def test_a_day_goes_with_its_last_blob_and_comes_back(tmp_path: Path) -> None:
    """Also while another process puts blobs of that day: each of them is there when it is acknowledged."""
    blobs, others = BlobFolder(tmp_path), BlobFolder(tmp_path)
    contents = [bytes([number]) * 10 for number in range(100)]

    async def put_and_delete(store: BlobFolder, own: list[bytes]) -> None:
        for content in own:
            await store.put("default", uri(content), content)
            assert await store.get("default", uri(content)) == content
            await store.delete("default", uri(content))

    await asyncio.gather(put_and_delete(blobs, contents[::2]), put_and_delete(others, contents[1::2]))
    assert [*tmp_path.glob("default/*/*")] == []
    assert await blobs.days("default") == {}
    await blobs.put("default", uri(b"again"), b"again")
    assert [*await blobs.days("default")] == ["lobby"]
    for store in (blobs, others):
        await store.close()


async def test_kill_9_while_writing_leaves_whole_blobs(tmp_path: Path) -> None:
    """Acknowledged blobs are there; every file at a blob's path is whole; partial files are removed."""
    acknowledged = put_until_killed(tmp_path, 50)
    blobs = BlobFolder(tmp_path)
    for blob in acknowledged:
        await blobs.get("default", blob)
    files = [path for path in (tmp_path / "default").rglob("*") if path.is_file()]
    assert len(files) >= len(acknowledged)
    for path in files:
        await blobs.get("default", f"blob:{path.relative_to(tmp_path)}")
    await old_partial_files_are_removed(tmp_path, blobs)


def put_until_killed(root: Path, count: int) -> list[str]:
    """The URIs acknowledged to a writer that is killed after `count` of them."""
    writer = subprocess.Popen([sys.executable, "-c", PUT_UNTIL_KILLED, str(root)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(count)]
    writer.send_signal(signal.SIGKILL)
    lines += writer.stdout.read().splitlines(keepends=True)
    writer.stdout.close()
    writer.wait()
    return [line.strip() for line in lines if line.endswith("\n")]


async def old_partial_files_are_removed(root: Path, blobs: BlobFolder) -> None:
    old, new = root / PARTIAL / "old", root / PARTIAL / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    await blobs.put("default", uri(b"picture", feed="gate"), b"picture")
    assert (old.exists(), new.exists()) == (False, True)
    await blobs.close()
