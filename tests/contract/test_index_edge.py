"""The index contract on the embedded index, through its process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.edge_folder import edge_folder
from tests.contract.index_suite import IndexSuite


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with edge_folder(tmp_path_factory.mktemp("edge") / "index") as folder:
        yield folder


class TestEdgeIndex(IndexSuite):
    @pytest.fixture
    def where(self, folder: Path) -> str:
        return f"edge:{folder}"
