"""`sightline repair` and `check --deep` as people type them, on a plan without models."""

from __future__ import annotations

import json
import os
from pathlib import Path

from streams.sqlite.salvage import salvage
from tests.support.pictures import encoded, scene
from tests.unit.sightline.conftest import Typed

DECODE_ONLY = '--set=segments=[["decode"]]'


def processed(typed: Typed, pictures: Path) -> None:
    for number in range(6):  # larger than its thumbnail
        path = pictures / f"{number}.jpg"
        if number != 3:
            path.write_bytes(encoded(scene(number, 640, 480)))
    assert typed("ingest", str(pictures), DECODE_ONLY).exit_code == 0
    assert typed("work", "--until-idle", DECODE_ONLY).exit_code == 0
    assert typed("check", "--deep", DECODE_ONLY).exit_code == 0


def test_thumbnails_and_originals_that_are_lost_or_damaged(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    processed(typed, pictures)
    originals = sorted(path for path in (tmp_path / "data" / "blobs").rglob("*") if len(path.name) == 64)
    thumbnails = sorted((tmp_path / "data" / "blobs").rglob("*.thumb"))
    before = {path: path.read_bytes() for path in (*originals, *thumbnails)}
    thumbnails[0].unlink()
    os.truncate(thumbnails[1], 100)
    result = typed("check", "--deep", "--json", DECODE_ONLY)
    found = json.loads(result.stdout)["pictures"]
    assert result.exit_code == 1
    assert (len(found["thumbnails_missing"]), len(found["thumbnails_damaged"])) == (1, 1)
    told = typed("check", "--deep", DECODE_ONLY).stdout
    assert "its thumbnail is damaged" in told
    assert f"{thumbnails[0]}: missing" in told
    assert f"{thumbnails[1]}: damaged" in told
    assert typed("repair", "--deep", DECODE_ONLY).exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert "Nothing to repair" in typed("repair", "--deep", DECODE_ONLY).stdout


def flip(path: Path, content: bytes) -> None:
    """Flip a byte of `content` wherever it is in the file."""
    before = path.read_bytes()
    assert content in before
    path.write_bytes(before.replace(content, content[:-1] + bytes([content[-1] ^ 0x55])))


def test_records_of_a_damaged_log_are_saved(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    """A record is lost before a worker sees it: its source is read again, and nothing else is processed twice."""
    processed(typed, pictures)
    late = pictures.with_name("late")
    late.mkdir()
    (late / "late.jpg").write_bytes(encoded(scene(17, 640, 480)))
    assert typed("ingest", str(late), DECODE_ONLY).exit_code == 0
    log = tmp_path / "data" / "log.sqlite"
    flip(log, b"late.jpg")
    damaged = log.read_bytes()
    for command in (("check",), ("repair", "--dry-run")):
        refused = typed(*command, DECODE_ONLY)
        assert (refused.exit_code, str(log) in refused.stderr, log.read_bytes() == damaged) == (1, True, True)
        assert "sightline repair" in refused.stderr
    made = typed("repair", DECODE_ONLY)
    assert made.exit_code == 0, made.stderr
    assert "frames.raw: 6 records saved, 1 lost" in made.stdout
    assert [path.read_bytes() for path in log.parent.glob("log.sqlite.damaged-*")] == [damaged]
    assert "the damaged log is now" in made.stderr
    assert typed("ingest", str(late), DECODE_ONLY).exit_code == 0
    worked = typed("work", "--until-idle", DECODE_ONLY)
    assert worked.exit_code == 0
    checked = typed("check", "--deep", "--json", DECODE_ONLY)
    assert (checked.exit_code, json.loads(checked.stdout)["accepted"]) == (0, 7), checked.stdout


def test_a_repair_that_was_killed_between_two_names_goes_on_with_the_saved_records(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    """The damaged log is away, the new one not yet in its place; its write-ahead log may still be there."""
    processed(typed, pictures)
    log = tmp_path / "data" / "log.sqlite"
    salvage(log, log.with_name("log.sqlite.saved"))
    log.rename(log.with_name("log.sqlite.damaged-20261129T000000"))
    log.with_name("log.sqlite-wal").write_bytes(bytes(4096))
    refused = typed("ingest", str(pictures), DECODE_ONLY)
    assert (refused.exit_code, "sightline repair" in refused.stderr) == (1, True)
    made = typed("repair", DECODE_ONLY)
    assert made.exit_code == 0
    assert "an earlier repair saved the records of the damaged log: they are in use now" in made.stderr
    assert "6 ingested before" in typed("ingest", str(pictures), DECODE_ONLY).stdout
    assert typed("check", "--deep", DECODE_ONLY).exit_code == 0


def test_a_damaged_log_is_set_aside_on_request_alone(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    processed(typed, pictures)
    log = tmp_path / "data" / "log.sqlite"
    os.truncate(log, log.stat().st_size // 2)
    damaged = log.read_bytes()
    commands = (
        ("work", "--until-idle"),
        ("check",),
        ("dead", "list"),
        ("topics", "describe"),
        ("ingest", str(pictures)),
    )
    for command in (*commands, ("repair", "--dry-run"), ("repair",)):
        refused = typed(*command, DECODE_ONLY)
        assert (refused.exit_code, str(log) in refused.stderr) == (1, True), command
        assert "sightline repair" in refused.stderr
    assert "sightline repair --new-log" in refused.stderr
    assert log.read_bytes() == damaged
    made = typed("repair", "--new-log", DECODE_ONLY)
    assert "the log is now" in made.stderr
    assert [path.read_bytes() for path in log.parent.glob("log.sqlite.damaged-*")] == [damaged]
    again = typed("ingest", str(pictures), DECODE_ONLY)
    assert "6 frames accepted" in again.stdout
