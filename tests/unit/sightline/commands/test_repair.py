"""`sightline repair` and `check --deep` as people type them, on a plan without models."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
    assert "its thumbnail is damaged" in typed("check", "--deep", DECODE_ONLY).stdout
    assert typed("repair", "--deep", DECODE_ONLY).exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert "Nothing to repair" in typed("repair", "--deep", DECODE_ONLY).stdout


def test_a_damaged_log_is_set_aside_on_request_alone(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    processed(typed, pictures)
    log = tmp_path / "data" / "log.sqlite"
    os.truncate(log, log.stat().st_size // 2)
    damaged = log.read_bytes()
    refused = typed("repair", DECODE_ONLY)
    assert refused.exit_code == 1
    assert "sightline repair --new-log" in refused.stderr
    assert log.read_bytes() == damaged
    made = typed("repair", "--new-log", DECODE_ONLY)
    assert "the log is now" in made.stderr
    assert [path.read_bytes() for path in log.parent.glob("log.sqlite.damaged-*")] == [damaged]
    again = typed("ingest", str(pictures), DECODE_ONLY)
    assert "6 frames accepted" in again.stdout
