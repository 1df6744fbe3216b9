"""The index contract on the embedded index, through its process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.index import Filter
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


class TestEdgeIndex(IndexSuite):
    @pytest.fixture
    def where(self, folder: Path) -> str:
        return f"edge:{folder}"
