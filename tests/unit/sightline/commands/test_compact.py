"""`sightline compact` on a small deployment: log and index shrink, and nothing is lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stores.edge.client import EdgeIndex
from stores.index import CollectionSpec, Filter, Match, Point
from tests.support.edge_folder import edge_folder
from tests.unit.sightline.conftest import Typed

SPEC = CollectionSpec(name="frames-x", vectors={"semantic": 64}, payload={"part": "integer"})
POINTS = 1_000
SIZES = re.compile(r"([\d.]+) MiB before, ([\d.]+) MiB now")


@pytest.fixture
def worked(typed: Typed, pictures: Path, tmp_path: Path) -> Iterator[Typed]:
    """An ingested folder, and an index of which nine tenths were deleted."""
    with edge_folder(tmp_path / "data" / "index"):
        assert typed("ingest", str(pictures)).exit_code == 0
        asyncio.run(_fill(tmp_path / "data" / "index"))
        yield typed


async def _fill(folder: Path) -> None:
    index = EdgeIndex(folder)
    await index.ensure(SPEC, "frames")
    vectors = np.random.default_rng(0).standard_normal((POINTS, 64), np.float32)
    await index.upsert(
        "frames",
        [
            Point(
                id=f"00000000-0000-0000-0000-{number:012}",
                vectors={"semantic": vectors[number]},
                payload={"part": number % 10, "caption": str(number) * 100},
            )
            for number in range(POINTS)
        ],
    )
    await index.delete("frames", Filter(must_not=(Match(field="part", any_of=(0,)),)))
    await index.close()


async def _count(folder: Path) -> int:
    index = EdgeIndex(folder)
    try:
        return await index.count("frames")
    finally:
        await index.close()


def test_log_and_index_shrink(worked: Typed, tmp_path: Path) -> None:
    result = worked("compact")
    assert result.exit_code == 0, result.stderr
    log, index = [line for line in re.split(r"\n(?=index )", result.stdout) if line]
    assert log.startswith("log ")
    before, after = map(float, SIZES.findall(index.replace("\n", " "))[0])
    assert after < 0.7 * before
    assert asyncio.run(_count(tmp_path / "data" / "index")) == POINTS / 10


@pytest.mark.parametrize(("option", "other"), [("--log", "index "), ("--index", "log ")])
def test_one_of_them(worked: Typed, option: str, other: str) -> None:
    result = worked("compact", option)
    assert result.exit_code == 0, result.stderr
    assert not any(line.startswith(other) for line in result.stdout.splitlines())


def test_nothing_embedded_is_an_error(typed: Typed) -> None:
    result = typed("compact", "--set=transport=kafka://127.0.0.1:1", "--set=index=http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "Kafka" in result.stderr
