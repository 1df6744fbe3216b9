"""Several sources at once: each is a feed of its own, and an unreadable one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.ingest_runner import ingest_jobs
from streams.sources.playback import Playback
from tests.support.pictures import encoded, scene
from tests.unit.sightline.conftest import Typed


def test_a_feed_is_named_after_its_source_by_default(tmp_path: Path) -> None:
    specs = [str(tmp_path / "Front Door.mp4"), str(tmp_path / "shots" / "*.jpg")]
    assert [entry.feed for entry in ingest_jobs(specs, "", Playback())] == ["front-door", "shots"]
    assert {entry.feed for entry in ingest_jobs(specs, "lobby", Playback())} == {"lobby"}
    with pytest.raises(ValueError, match="feed 'a/b': use 1 to 63 of"):
        ingest_jobs(specs, "a/b", Playback())


def test_each_source_has_its_own_summary(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.jpg").write_bytes(encoded(scene(9)))
    result = typed("ingest", "shots", "more")
    assert result.stdout.splitlines() == ["shots: 6 frames accepted", "more: 1 frame accepted"]


def test_a_source_that_cannot_be_read_ends_no_other(typed: Typed, pictures: Path) -> None:
    result = typed("ingest", "nowhere.mp4", "shots", "nothing.mp4")
    assert (result.exit_code, result.stdout) == (1, "shots: 6 frames accepted\n")
    assert result.stderr.splitlines()[-2:] == [
        f"✗ {name}: no such file or folder; check the path" for name in ("nowhere.mp4", "nothing.mp4")
    ]
    again = typed("ingest", "shots")
    assert (again.exit_code, again.stdout) == (0, "shots: 0 frames accepted, 6 ingested before\n")
