"""The catalog of the embedded index and its copy, where one of the two cannot be written or was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stores.edge import catalog
from stores.edge.index_folder import IndexFolder
from stores.index import CollectionSpec

SPEC = CollectionSpec(name="frames", vectors={"semantic": 4}, payload={"frame": "keyword"})


def shard(folder: Path) -> str:
    return catalog.load(folder).collections["frames"].shard


def entries(number: int) -> catalog.Catalog:
    return catalog.Catalog({"frames": catalog.Entry(SPEC, f"shard-{number:06d}")}, shards_made=number)


def test_a_copy_that_cannot_be_written_does_not_fail_the_change(tmp_path: Path) -> None:
    """The caller of a failed change removes the new shard, and the catalog would name it."""
    catalog.save(tmp_path, entries(1))
    (tmp_path / catalog.COPY).unlink()
    (tmp_path / catalog.COPY).mkdir()
    catalog.save(tmp_path, entries(2))
    assert shard(tmp_path) == "shard-000002"


@pytest.mark.parametrize("lost", [catalog.FILE, catalog.COPY])
def test_both_files_are_the_same_once_the_index_was_opened(tmp_path: Path, lost: str) -> None:
    """A process was killed between the two, or one was damaged: later only the other may be left."""
    catalog.save(tmp_path, catalog.Catalog(shards_made=1))
    older = (tmp_path / catalog.FILE).read_bytes()
    catalog.save(tmp_path, catalog.Catalog(shards_made=2))
    (tmp_path / lost).write_bytes(older if lost == catalog.COPY else b"\0" * 99)
    IndexFolder(tmp_path)
    assert (tmp_path / catalog.FILE).read_bytes() == (tmp_path / catalog.COPY).read_bytes()
    assert catalog.load(tmp_path).shards_made == 2
