"""`sightline storage`, and retention as a short run of the real commands applies it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from PIL import Image

from schemas.identity import frame_id, still_position
from stores.blobs import sha256_hex
from stores.edge.disk_use import index_use
from tests.support.edge_folder import end
from tests.support.pictures import encoded, scene
from tests.unit.sightline.conftest import Typed

EMBEDDING = '--set=segments=[["decode", "embed"]]'
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
WORK = ("work", "--until-idle", '--set=segments=[["decode"]]', "--set=serve.metrics_port=0")


@pytest.fixture
def ingested(typed: Typed, tmp_path: Path) -> list[str]:
    """Ids of five finished frames that were put two hours ago, and one of a moment ago."""
    folder = tmp_path / "shots"
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths[:5]):
        path.write_bytes(encoded(scene(number)))
    assert typed("ingest", str(folder)).exit_code == 0
    assert typed(*WORK).exit_code == 0
    for blob in (tmp_path / "data" / "blobs" / "default").rglob("*"):
        if blob.is_file():
            os.utime(blob, (blob.stat().st_mtime - 7200,) * 2)
    paths[5].write_bytes(encoded(scene(5)))
    assert typed("ingest", str(folder)).exit_code == 0
    positions = [still_position(str(path), sha256_hex(path.read_bytes())) for path in paths]
    return [frame_id("default", "shots", position) for position in positions]


def test_a_short_run_applies_retention_and_spares_kept_frames(
    typed: Typed, ingested: list[str], tmp_path: Path
) -> None:
    assert typed("keep", ingested[0]).exit_code == 0
    limits = ("--set=storage.log_hours=1", "--set=storage.picture_hours=1.0")
    assert typed(*WORK, *limits).exit_code == 0
    originals = {path.name for path in (tmp_path / "data" / "blobs").rglob("*") if len(path.name) == 64}
    pictures = {number: sha256_hex((tmp_path / "shots" / f"{number}.jpg").read_bytes()) for number in range(6)}
    assert originals == {pictures[0], pictures[5]}
    assert "no longer exists" in typed("show", ingested[1], "--out", "x.jpg").stderr
    assert typed("show", ingested[0], "--out", "x.jpg").exit_code == 0


def test_the_parts_are_shown_with_their_limits_and_what_is_near_its_limit(typed: Typed, ingested: list[str]) -> None:
    assert len(ingested) == 6
    plain = typed("storage")
    assert plain.exit_code == 0
    for word in ("log", "pictures", "index", "disk", "17.2 GB"):
        assert word in plain.stdout
    parts = {part["name"]: part for part in json.loads(typed("storage", "--json").stdout)}
    assert parts["pictures"]["limit_bytes"] is None
    used = parts["pictures"]["used_bytes"]
    assert used > 0
    near = typed("storage", f"--set=storage.picture_bytes={int(used / 0.9)}")
    assert "pictures: 90% of the limit in [storage] is used" in near.stderr
    started = typed(*WORK, f"--set=storage.picture_bytes={int(used / 0.9)}")
    assert "Storage: log " in started.stderr
    assert "pictures: 90% of the limit" in started.stderr


def test_pictures_beyond_the_limit_go_as_soon_as_they_are_finished(typed: Typed, tmp_path: Path) -> None:
    """Accepted and processed within ten minutes, with the models: what is left fits, and is found with its picture."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(12):
        Image.effect_noise((160, 120), 80 + number).save(folder / f"{number}.png")
    limit = 110_000
    settings = (f"--set=storage.picture_bytes={limit}", f"--set=storage.feeds.shots.bytes={limit}")
    ingested = typed("ingest", str(folder), EMBEDDING, *settings)
    assert f"more than storage.picture_bytes = {limit / 1000:.0f} kB" in ingested.stderr
    assert "feed shots" in ingested.stderr
    blobs = tmp_path / "data" / "blobs" / "default"
    assert sum(1 for path in blobs.rglob("*") if path.is_file()) == 12
    worked = typed("work", "--until-idle", "--set=serve.metrics_port=0", EMBEDDING, *settings)
    assert worked.exit_code == 0, worked.stderr
    stored = [path for path in blobs.rglob("*") if path.is_file()]
    assert 0 < sum(512 * path.stat().st_blocks for path in stored) <= 1.05 * limit
    originals = {path.name for path in stored if len(path.name) == 64}
    found = UUID.findall(typed("search", "--feed", "shots", "--limit", "12", EMBEDDING).stdout)
    assert len(found) == len(originals)
    for frame in found:
        assert typed("show", frame, "--out", f"{frame}.jpg", EMBEDDING).exit_code == 0


def test_a_copied_index_that_lost_its_holes_costs_no_picture(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    """As `tar` and `rsync` copy a folder: its files are many times as large, until the index is rebuilt."""
    assert typed("ingest", "shots", EMBEDDING).exit_code == 0
    assert typed("work", "--until-idle", "--set=serve.metrics_port=0", EMBEDDING).exit_code == 0
    index = tmp_path / "data" / "index"
    end(index, signal.SIGTERM)
    limit = 2 * index_use(index).needed_bytes
    for path in [path for path in index.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_bytes())
    assert index_use(index).used_bytes > 2 * limit
    limited = f"--set=storage.index_bytes={limit}"
    assert typed("work", "--until-idle", "--set=serve.metrics_port=0", EMBEDDING, limited).exit_code == 0
    assert len(set(UUID.findall(typed("search", "--feed", "shots", EMBEDDING).stdout))) == 5
    assert index_use(index).needed_bytes <= limit
