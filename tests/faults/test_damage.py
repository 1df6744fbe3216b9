"""Files of a data folder that are cut or flipped: told, and never a hang. `make faults` damages every file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from processors.stages.decode import Decode, DecodeSettings
from streams.clock import SystemClock
from streams.sources.images import from_folder
from streams.sources.ingest import IngestSettings, ingest
from tests.support.damage import WAY_OUT, Damage, Seen, copied, data_files, seen
from tests.support.deployment import deployed, running, until
from tests.support.edge_folder import edge_folder
from tests.support.fault_stages import Fate, Vectors, commented
from tests.support.pictures import encoded, scene

KINDS = {
    "log": "log.sqlite",
    "catalogs": "catalog*.json",
    "sums": "shard-*.sums",
    "number of points": "shard-*.flushed",
    "vectors": "chunk_0.mmap",
    "payloads": "page_0.dat",
    "original": "?" * 64,
    "thumbnail": "*.thumb",
}
PICTURES = ("original", "thumbnail")
HARMLESS = ("catalogs", "sums", "number of points")
"""Files that have a second copy, or are a check of others: the data is there, and the index's log names them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, processed, with thumbnails; no process has it open."""
    folder, shots = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("shots")
    for number in range(3):
        (shots / f"{number}.jpg").write_bytes(commented(encoded(scene(number, 640, 480)), f"ok#{number}"))
    with edge_folder(folder / "index"):
        asyncio.run(processed(folder, shots))
    return folder


async def processed(folder: Path, shots: Path) -> None:
    async with deployed(folder, fresh=False) as here:
        await ingest(
            from_folder(shots),
            transport=here.transport,
            blobs=here.blobs,
            tenant="default",
            feed="shots",
            clock=SystemClock(),
            settings=IngestSettings(inline_limit_bytes=0),
        )
        async with running(here.worker([Decode(DecodeSettings()), Fate(), Vectors()])) as task:
            await until(lambda: here.drained(group="sightline.decode"), task)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    copied(folder, copy := tmp_path_factory.mktemp("copy"))
    return asyncio.run(seen(copy))


def test_a_whole_folder_tells_of_nothing(whole: Seen) -> None:
    assert whole.told == ""
    assert whole.content


@pytest.mark.parametrize("damage", [Damage(), Damage(flip=2)], ids=["half", "flipped"])
@pytest.mark.parametrize("kind", KINDS)
async def test_damage_is_told_or_does_no_harm(
    folder: Path, whole: Seen, tmp_path: Path, kind: str, damage: Damage
) -> None:
    """The file is named, with the way out for log and index: `sightline check` says it after every other fault."""
    copied(folder, tmp_path)
    files = [path for path in data_files(tmp_path) if path.match(KINDS[kind])]
    assert files, sorted({path.name for path in data_files(tmp_path)})
    damage.do(tmp_path / files[0])
    found = await seen(tmp_path)
    if kind in HARMLESS:
        assert found == whole
    elif kind in PICTURES:
        assert files[0].name in found.told
    else:
        assert found == whole or (files[0].name in found.told and WAY_OUT in found.told)
