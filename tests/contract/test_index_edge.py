"""The index contract on the embedded index, through its process."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from stores.edge.checksums import SUMS
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.index import Filter, Verified
from tests.contract.index_suite import SPEC, IndexSuite, point
from tests.support.edge_folder import edge_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with edge_folder(tmp_path_factory.mktemp("edge") / "index") as folder:
        yield folder


async def test_a_collection_too_large_is_logged_once_with_the_remedy(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = EdgeIndex(folder, EdgeSettings(recommended_points=10))
    await index.ensure(SPEC, "frames")
    await index.delete("frames", Filter())
    await index.upsert("frames", [point(number) for number in range(10)])
    assert caplog.messages == []
    for number in (11, 12):
        await index.upsert("frames", [point(number)])
    (message,) = caplog.messages
    assert "11 points" in message
    assert "http://HOST:6333" in message
    await index.close()


def value(random: Random, depth: int = 0) -> Any:
    """Any value that a payload can hold, numbers at the limits of their types among them."""
    kinds: list[Callable[[], Any]] = [
        lambda: struct.unpack("<d", random.randbytes(8))[0],
        random.random,
        lambda: random.randint(-(2**70), 2**70),
        lambda: random.choice([0, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), True, False, None]),
        lambda: random.choice(["", "a,1.5e3,b", "[1.25]", ":1e9,", "ü\x00\n", "9" * 30, "_sums"]),
        lambda: random.choice([0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 0.1, 1e-7]),
        lambda: [value(random, depth + 1) for _ in range(random.randint(0, 4 - depth))],
        lambda: {random.choice("abc.,"): value(random, depth + 1) for _ in range(random.randint(0, 4 - depth))},
    ]
    while isinstance(made := random.choice(kinds)(), float) and not math.isfinite(made):
        pass
    return made


async def test_no_payload_and_no_vector_is_taken_for_damaged(folder: Path) -> None:
    """Edge rounds some floats and large integers; a copy of a point has the same checksums."""
    random, vectors = (
        Random(0),
        np.random.default_rng(0).standard_normal((400, 8)) * 10.0 ** np.arange(-8, 8, 0.04)[:, None],
    )
    index = EdgeIndex(folder)
    await index.ensure(SPEC, "frames")
    await index.delete("frames", Filter())
    await index.upsert(
        "frames",
        [
            point(number, vector.astype("<f4"), made=value(random), **{"a.b": value(random)})
            for number, vector in enumerate(vectors)
        ],
    )
    assert await index.verify("frames") == Verified(400, ())
    async for _ in index.compact():
        pass
    assert await index.verify("frames") == Verified(400, ())
    hits = await index.search("frames", "semantic", vectors[7].astype("<f4"), limit=400)
    assert len(hits) == 400
    assert all(SUMS not in hit.payload for hit in hits)
    await index.close()


class TestEdgeIndex(IndexSuite):
    @pytest.fixture
    def where(self, folder: Path) -> str:
        return f"edge:{folder}"
