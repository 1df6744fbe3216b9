"""A restore where something is in the way, or fails on the way: what was there stays, and nothing is left over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.lifecycle.backup_folder import BackupFolder
from streams.lifecycle.backup_manifest import BadBackup, Manifest
from streams.lifecycle.restore import RestoreTargets, restore
from streams.sqlite.backup import side_files

PICTURE = "default/lobby/2026-01-01/" + "a" * 64


@pytest.fixture
def backup(tmp_path: Path) -> BackupFolder:
    """Of a log, an index and a picture, each of a few bytes."""
    (tmp_path / "new").write_bytes(b"new")
    return made(BackupFolder(tmp_path / "backup"), tmp_path / "new", PICTURE)


def made(folder: BackupFolder, content: Path, picture: str, *, with_log: bool = True) -> BackupFolder:
    with folder.locked():
        stored = folder.store_file(content)
        folder.commit(
            Manifest(
                version="0",
                made=datetime(2026, 1, 1, tzinfo=UTC),
                source="here",
                log=stored if with_log else None,
                index={"catalog.json": stored},
                pictures={picture: folder.store_picture(PICTURE, b"new", 1)},
            )
        )
    return folder


@pytest.fixture
def targets(tmp_path: Path) -> RestoreTargets:
    """A folder with data."""
    data = tmp_path / "data"
    for path in ("log.sqlite", "log.sqlite-wal", "index/catalog.json", f"blobs/{PICTURE}"):
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_bytes(b"old")
    return RestoreTargets(data / "log.sqlite", data / "index", data / "blobs", side_files(data / "log.sqlite"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_former_parts_are_moved_aside(backup: BackupFolder, targets: RestoreTargets, tmp_path: Path) -> None:
    _, moved = restore(backup, targets, ".before")
    found = contents(tmp_path / "data")
    assert {name for name, content in found.items() if content == b"new"} == {
        "log.sqlite",
        "index/catalog.json",
        f"blobs/{PICTURE}",
    }
    assert {name for name, content in found.items() if content == b"old"} == {
        "log.sqlite.before",
        "log.sqlite-wal.before",
        "index.before/catalog.json",
        f"blobs.before/{PICTURE}",
    }
    assert len(moved) == 4


def test_a_part_that_cannot_be_moved_leaves_everything_as_it_was(
    backup: BackupFolder, targets: RestoreTargets, tmp_path: Path
) -> None:
    (tmp_path / "data" / "blobs.before" / "full").mkdir(parents=True)
    before = contents(tmp_path / "data")
    with pytest.raises(OSError, match="not empty"):
        restore(backup, targets, ".before")
    assert contents(tmp_path / "data") == before


def test_a_damaged_part_leaves_no_draft(backup: BackupFolder, targets: RestoreTargets, tmp_path: Path) -> None:
    (damaged,) = (path for path in (tmp_path / "backup" / "objects").rglob("*") if path.is_file())
    damaged.write_bytes(b"bad")
    before = contents(tmp_path / "data")
    with pytest.raises(BadBackup, match="is damaged"):
        restore(backup, targets, ".before")
    assert contents(tmp_path / "data") == before
    assert len(list((tmp_path / "data").iterdir())) == 4


def test_what_a_process_began_meanwhile_is_not_replaced(backup: BackupFolder, tmp_path: Path) -> None:
    data = tmp_path / "data"
    targets = RestoreTargets(data / "log.sqlite", data / "index", data / "blobs")

    def begin(_: Manifest) -> None:
        (data / "log.sqlite").write_bytes(b"begun")

    with pytest.raises(BadBackup, match="there is data already"):
        restore(backup, targets, None, begin)
    assert contents(data) == {"log.sqlite": b"begun"}


def test_a_backup_without_a_log_leaves_the_log_and_its_files(targets: RestoreTargets, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    restore(made(BackupFolder(tmp_path / "backup"), tmp_path / "new", PICTURE, with_log=False), targets, ".before")
    found = contents(tmp_path / "data")
    assert found["log.sqlite"] == found["log.sqlite-wal"] == b"old"


@pytest.mark.parametrize("picture", ["../../escaped", "/escaped", "default/../../../escaped", ""])
def test_a_backup_that_names_files_outside_is_refused(targets: RestoreTargets, tmp_path: Path, picture: str) -> None:
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(BadBackup, match=r"backup\.json was not written by Sightline"):
        restore(made(BackupFolder(tmp_path / "backup"), tmp_path / "new", picture), targets, ".before")
    assert b"new" not in contents(tmp_path / "data").values()
