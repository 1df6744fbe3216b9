"""`sightline backup` and `restore` on a small deployment: what comes back, what is refused, and what is named."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.config import Config
from sightline.wiring.parts import opened
from streams.lifecycle.deletions import Deletions
from streams.sqlite.transport import SqliteTransport
from tests.support.edge_folder import edge_folder
from tests.support.without_rights import run_without_rights
from tests.unit.sightline.conftest import Typed

FRAME_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SIGHTLINE = str(Path(sys.executable).with_name("sightline"))
PLAN = '--set=segments=[["decode"]]'


@pytest.fixture
def worked(typed: Typed, pictures: Path, tmp_path: Path) -> Iterator[Typed]:
    """Six pictures, worked on: five enriched, one dead."""
    with edge_folder(tmp_path / "data" / "index"):
        assert typed("ingest", str(pictures), PLAN).exit_code == 0
        assert typed("work", "--until-idle", PLAN).exit_code == 0
        yield typed


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and len(path.name) >= 64}


def accepted(folder: Path) -> int:
    """Records ever written to `frames.raw`."""
    connection = sqlite3.connect(folder / "log.sqlite")
    sum_of = "SELECT sum(next_offset) FROM partitions JOIN topics ON topics.id = topic_id WHERE name = 'frames.raw'"
    (count,) = connection.execute(sum_of).fetchone()
    connection.close()
    return int(count)


def test_a_lost_folder_comes_back(worked: Typed, tmp_path: Path) -> None:
    before = blobs(tmp_path / "data" / "blobs")
    made = worked("backup", "copy")
    assert made.exit_code == 0, made.stderr
    assert f"{len(before)} new, 0 removed" in made.stdout
    shutil.rmtree(tmp_path / "data")
    restored = worked("restore", "copy")
    assert restored.exit_code == 0, restored.stderr
    assert blobs(tmp_path / "data" / "blobs") == before
    assert worked("work", "--until-idle", PLAN).exit_code == 0
    checked = worked("check", "--json", PLAN)
    assert json.loads(checked.stdout)["enriched"] == 5
    assert checked.exit_code == 0


def test_a_second_backup_copies_what_is_new(worked: Typed, pictures: Path, tmp_path: Path) -> None:
    worked("backup", "copy")
    objects = set((tmp_path / "copy" / "objects").rglob("*"))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "copy" / "pictures").rglob("*") if path.is_file()}
    (pictures / "7.jpg").write_bytes((pictures / "0.jpg").read_bytes() + b"\0")
    worked("ingest", str(pictures), PLAN)
    for path in (tmp_path / "data" / "blobs").rglob("[0-9a-f]" * 64):
        path.touch()  # as when it is put again
    again = worked("backup", "copy")
    assert "1 new, 0 removed" in again.stdout
    assert all(path.stat().st_mtime_ns == before for path, before in times.items())
    assert objects != set((tmp_path / "copy" / "objects").rglob("*"))
    shutil.rmtree(tmp_path / "data")
    worked("restore", "copy")
    assert accepted(tmp_path / "data") == 7


def test_an_erased_picture_leaves_the_backup_at_the_next_run(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    erased = next(
        path for path in (tmp_path / "data" / "blobs").rglob("*") if path.suffix != ".thumb" and path.is_file()
    )
    assert any(path.name == erased.name for path in (tmp_path / "copy").rglob("*"))
    erased.unlink()
    assert "1 removed" in worked("backup", "copy").stdout
    assert not any(path.name == erased.name for path in (tmp_path / "copy").rglob("*"))


@pytest.mark.parametrize("change", ["cut", "flip", "remove"])
@pytest.mark.parametrize("kind", ["objects", "pictures", "backup.json"])
def test_damage_is_named_and_nothing_is_restored(worked: Typed, tmp_path: Path, kind: str, change: str) -> None:
    worked("backup", "copy")
    root = tmp_path / "copy" / kind
    victim = root if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())[0]
    content = victim.read_bytes()
    if change == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif change == "flip":
        victim.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    else:
        victim.unlink()
    result = worked("restore", "copy", "--replace")
    assert result.exit_code == 1
    assert (victim.name if victim.exists() or kind != "backup.json" else "no whole backup") in result.stderr
    assert accepted(tmp_path / "data") == 6
    if kind != "backup.json":
        assert worked("backup", "copy", "--verify").exit_code == 0
        assert worked("restore", "copy", "--replace").exit_code == 0


def test_a_folder_with_data_is_moved_aside_and_its_deletions_stay(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    frame = FRAME_ID.findall(worked("dead", "list").stdout)[0]
    assert worked("forget", frame).exit_code == 0
    refused = worked("restore", "copy")
    assert refused.exit_code == 1
    assert "--replace" in refused.stderr
    restored = worked("restore", "copy", "--replace")
    assert restored.exit_code == 0, restored.stderr
    assert "1 deletion requested since then" in restored.stdout
    assert len(list((tmp_path / "data").glob("blobs.before-*"))) == 1

    async def deleted() -> list[str]:
        async with opened(Config(data=str(tmp_path / "data"), segments=(("decode",),))) as parts:
            return await Deletions(parts.transport).catch_up()

    assert asyncio.run(deleted()) == [frame]


def test_deletions_are_durable_before_the_restore_brings_back_what_they_erase(worked: Typed, tmp_path: Path) -> None:
    """A restore that is killed just after it has requested nothing yet."""
    worked("backup", "copy")
    frame = FRAME_ID.findall(worked("dead", "list").stdout)[0]
    worked("forget", frame)
    (tmp_path / "data" / "deletions.jsonl").unlink()  # as a version that did not write it
    assert worked("restore", "copy", "--replace").exit_code == 0
    assert frame in (tmp_path / "data" / "deletions.jsonl").read_text()


def test_pictures_are_restored_to_the_disk_that_they_were_on(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    (tmp_path / "disk").mkdir()
    (tmp_path / "data" / "blobs").rename(tmp_path / "disk" / "pictures")
    (tmp_path / "data" / "blobs").symlink_to(tmp_path / "disk" / "pictures")
    before = blobs(tmp_path / "disk" / "pictures")
    assert worked("restore", "copy", "--replace").exit_code == 0
    assert (tmp_path / "data" / "blobs").is_symlink()
    assert blobs(tmp_path / "disk" / "pictures") == before
    assert len(list((tmp_path / "disk").glob("pictures.before-*"))) == 1


def test_a_log_in_use_is_not_replaced(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")

    async def restore_beside() -> int:
        transport = SqliteTransport(tmp_path / "data" / "log.sqlite")
        await transport.open()
        try:
            return (await asyncio.to_thread(worked, "restore", "copy", "--replace")).exit_code
        finally:
            await transport.close()

    assert asyncio.run(restore_beside()) == 1
    assert not list((tmp_path / "data").glob("*.before-*"))


def test_an_empty_log_does_not_take_the_place_of_a_backup(worked: Typed, pictures: Path, tmp_path: Path) -> None:
    """A disk is replaced, the services start on an empty folder, and the nightly backup runs."""
    worked("backup", "copy")
    shutil.rmtree(tmp_path / "data")
    worked("ingest", str(pictures / "0.jpg"), PLAN)
    refused = worked("backup", "copy")
    assert refused.exit_code == 1
    assert "lost or replaced" in refused.stderr
    shutil.rmtree(tmp_path / "data")
    assert worked("restore", "copy").exit_code == 0
    assert accepted(tmp_path / "data") == 6


def test_lost_pictures_do_not_leave_the_backup(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    for name in sorted(blobs(tmp_path / "data" / "blobs"))[:4]:
        next((tmp_path / "data" / "blobs").rglob(name)).unlink()
    some = worked("backup", "copy")
    assert some.exit_code == 1
    assert "4 of the 6 pictures in the backup are gone" in some.stderr
    shutil.rmtree(tmp_path / "data" / "blobs")
    refused = worked("backup", "copy")
    assert refused.exit_code == 1
    assert "are gone" in refused.stderr
    assert worked("backup", "copy", "--replace").exit_code == 0


def test_pictures_on_another_disk_are_in_the_backup_and_do_not_leave_it_with_the_disk(
    worked: Typed, tmp_path: Path
) -> None:
    """A feed's folder was moved, and a link is in its place."""
    before = blobs(tmp_path / "data" / "blobs")
    (feed,) = (tmp_path / "data" / "blobs" / "default").iterdir()
    feed.rename(tmp_path / "disk")
    feed.symlink_to(tmp_path / "disk")
    assert f"{len(before)} new" in worked("backup", "copy").stdout
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    away = worked("backup", "copy", "--replace")
    assert away.exit_code == 1
    assert f"{feed.name} is a link to a folder that is not there" in away.stderr.replace("\n", " ")
    assert blobs(tmp_path / "copy" / "pictures") == before


def test_pictures_that_may_not_be_read_do_not_leave_the_backup(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    before = blobs(tmp_path / "copy" / "pictures")
    (day,) = (tmp_path / "data" / "blobs" / "default").glob("*/*")
    day.chmod(0)
    try:
        refused = run_without_rights(SIGHTLINE, "backup", "copy", "--replace", "--data=data", cwd=tmp_path)
    finally:
        day.chmod(0o755)
    assert refused.returncode == 1
    assert f"{day}: permission denied" in refused.stderr
    assert blobs(tmp_path / "copy" / "pictures") == before


@pytest.mark.skipif(sys.platform != "linux", reason="a file that cannot be read stands in for a bad sector")
def test_one_picture_that_cannot_be_read_is_named_and_keeps_its_copy(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    before = blobs(tmp_path / "copy" / "pictures")
    first = next(path for path in (tmp_path / "data" / "blobs").rglob("*") if len(path.name) == 64)
    first.unlink()
    first.symlink_to("/proc/self/mem")
    (first.parent / "Thumbs.db").touch()
    named = worked("backup", "copy")
    assert named.exit_code == 1
    assert "1 picture in the data folder that cannot be read" in named.stderr
    assert first.name in named.stderr
    assert blobs(tmp_path / "copy" / "pictures") == before


def test_a_broken_off_backup_is_none(worked: Typed, tmp_path: Path) -> None:
    worked("backup", "copy")
    (tmp_path / "copy" / "backup.json").unlink()
    result = worked("restore", "copy", "--replace")
    assert result.exit_code == 1
    assert "no whole backup" in result.stderr
    assert "(0 new, 0 removed)" in worked("backup", "copy").stdout, "what was copied before is used"
    assert worked("restore", "copy", "--replace").exit_code == 0


def test_folders_that_are_no_place_for_a_backup(worked: Typed, tmp_path: Path) -> None:
    assert worked("backup", "data/copy").exit_code == 2
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert "letter.txt" in worked("backup", "home").stderr
    assert (tmp_path / "home" / "letter.txt").exists()


def test_what_other_systems_hold_is_named(worked: Typed, tmp_path: Path) -> None:
    elsewhere = ("--set=index=http://qdrant:6333", "--set=blobs=s3://bucket/pictures")
    made = worked("backup", "copy", *elsewhere)
    assert made.exit_code == 0, made.stderr
    assert "not in this backup: the index at http://qdrant:6333: use Qdrant's snapshots" in made.stdout
    assert "not in this backup: the pictures at s3://bucket/pictures" in made.stdout
    nothing = worked("backup", "other", "--set=transport=kafka://broker:9092", *elsewhere)
    assert nothing.exit_code == 1
    assert "nothing of this deployment is embedded" in nothing.stderr
    assert not (tmp_path / "other").exists()
