"""Several sources at once: each is a feed of its own, and an unreadable one is named."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.identity import frame_id, still_position
from sightline.ingest_runner import ingest_jobs
from stores.blobs import sha256_hex
from streams.sources.playback import Playback
from tests.support.deployment import until
from tests.support.odd_pictures import exif, saved
from tests.support.pictures import encoded, scene
from tests.support.videos import write_video
from tests.support.without_rights import run_without_rights
from tests.unit.sightline.conftest import Process, Typed

DECODE_ONLY = '--set=segments=[["decode"]]'


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


WAYS = {
    "itself": "album/summer/1.jpg",
    "folder": "album/summer",
    "parent": "album",
    "glob": "album/**/*.jpg",
    "link": "link.jpg",
    "linked folder": "linked",
    "dots": "album/../album/summer/../summer/1.jpg",
}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    path = tmp_path / "album" / "summer" / "1.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(scene(1)))
    (tmp_path / "link.jpg").symlink_to(path)
    (tmp_path / "linked").symlink_to(path.parent)
    return tmp_path


@pytest.mark.parametrize("first", WAYS)
def test_a_file_is_one_picture_however_its_path_is_given(typed: Typed, album: Path, first: str) -> None:
    assert typed("ingest", WAYS[first]).stdout.endswith(": 1 frame accepted\n")
    for spec in WAYS.values():
        result = typed("ingest", spec)
        assert (result.exit_code, ": 0 frames accepted, 1 ingested before" in result.stdout) == (0, True), result.output
    assert typed("ingest", "album", "--feed", "other").stdout == "other: 1 frame accepted\n"


def test_a_file_given_in_several_ways_at_once_is_accepted_once(typed: Typed, album: Path) -> None:
    result = typed("ingest", *WAYS.values())
    assert result.exit_code == 0
    assert result.stdout.count("1 frame accepted") == 1
    assert result.stdout.count("0 frames accepted") == len(WAYS) - 1


def test_two_videos_of_equal_content_are_two_feeds(typed: Typed, tmp_path: Path) -> None:
    for name in ("north.mp4", "south.mp4"):
        write_video(tmp_path / name, frames=6)
    assert typed("ingest", "north.mp4", "south.mp4").stdout.splitlines() == [
        "north: 6 frames accepted",
        "south: 6 frames accepted",
    ]


def test_folders_named_in_other_scripts_are_feeds_of_their_own(typed: Typed, tmp_path: Path) -> None:
    names = ("北门 1", "南门 1", "Москва", "M\u00fcnchen")
    for number, name in enumerate(names):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(encoded(scene(number)))
    assert typed("ingest", *names).stdout.splitlines() == [
        f"{feed}: 1 frame accepted" for feed in ("北门-1", "南门-1", "москва", "münchen")
    ]


@pytest.mark.parametrize("spec", ["shots", "shots/**/*.jpg", "shots/*/*.jpg"])
def test_a_folder_that_may_not_be_read_is_refused_by_name(
    typed: Typed, pictures: Path, tmp_path: Path, spec: str
) -> None:
    (pictures / "locked").mkdir()
    (pictures / "locked" / "9.jpg").write_bytes(encoded(scene(9)))
    (pictures / "locked").chmod(0)
    command = (str(Path(sys.executable).with_name("sightline")), "ingest", spec, "--data", "data")
    result = run_without_rights(*command, cwd=tmp_path)
    (pictures / "locked").chmod(0o700)
    assert result.returncode == 1, result.stderr
    assert "1 file refused" in result.stdout
    assert "✗ shots/locked: Permission denied; nothing in it is read (unreadable)" in result.stdout


def test_everything_refused_can_be_written_to_a_file(typed: Typed, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number in range(103):
        (folder / f"{number}\n\x1b[31m.txt").write_bytes(b"no picture")
    (folder / "1.jpg").write_bytes(encoded(scene(1)))
    result = typed("ingest", "mixed", "--refused", "refused.jsonl")
    assert result.exit_code == 1
    assert result.stdout.startswith("mixed: 1 frame accepted, 103 files refused\n")
    assert "3 more; --refused FILE writes all of them to a file" in result.stdout.splitlines()[-1]
    assert len(result.stdout.splitlines()) == 102
    assert "\x1b" not in result.stdout
    listed = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {entry["name"] for entry in listed} == {f"mixed/{number}\n\x1b[31m.txt" for number in range(103)}
    assert {(entry["feed"], entry["reason"]) for entry in listed} == {("mixed", "not_a_picture")}


def test_what_is_left_out_is_counted(typed: Typed, pictures: Path) -> None:
    for name in ("@eaDir/0.jpg/thumb.jpg", "raw/1.jpg", ".hidden.jpg"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(encoded(scene(20)))
    result = typed("ingest", "shots", "--exclude", "raw", "--exclude", "[4-5].*")
    assert result.stdout == "shots: 4 frames accepted, 5 files left out (hidden or excluded)\n"
    assert result.exit_code == 0


def test_a_forgotten_picture_says_that_it_was_forgotten(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(encoded(scene(1)))
    assert typed("ingest", "1.jpg").exit_code == 0
    frame = frame_id("default", "1", still_position(str(tmp_path / "1.jpg"), sha256_hex(encoded(scene(1)))))
    assert typed("work", "--until-idle", DECODE_ONLY, "--set=serve.metrics_port=0").exit_code == 0
    assert typed("forget", frame, DECODE_ONLY).exit_code == 0
    result = typed("ingest", "1.jpg")
    assert result.stdout.splitlines()[0] == "1: 0 frames accepted, 1 forgotten before"
    assert "1 picture was erased by `sightline forget` and not accepted again" in result.stdout


def test_a_time_of_capture_in_the_future_is_told(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(saved(scene(1), "JPEG", exif=exif(taken="2999:01:01 00:00:00")))
    result = typed("ingest", "1.jpg")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "1: 1 frame accepted")
    assert "1 picture says that it was captured in the future" in result.stdout


def test_a_blob_folder_that_cannot_be_written_is_told_and_waited_for(
    typed: Typed, started: Callable[..., Process], pictures: Path, tmp_path: Path
) -> None:
    assert typed("topics", "create").exit_code == 0  # pictures without a log are refused
    (tmp_path / "data" / "blobs").mkdir(exist_ok=True)
    (tmp_path / "data" / "blobs" / "default").write_bytes(b"a file is in the way")
    ingest = started("ingest", "shots")
    asyncio.run(until(lambda: "shots: waiting for blobs: " in ingest.stderr))
    (tmp_path / "data" / "blobs" / "default").unlink()
    assert ingest.process.wait(60) == 0
    assert "shots: goes on after" in ingest.stderr


def test_a_film_cut_short_is_incomplete_and_its_frames_are_accepted(typed: Typed, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", frames=30, detailed=True, options={"movflags": "faststart"})
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    result = typed("ingest", "cut.mp4")
    first, second = result.stdout.splitlines()
    assert (result.exit_code, first.endswith(" frames accepted, 1 film incomplete")) == (1, True)
    assert second.strip().startswith("✗ cut.mp4: the file names 30 frames, ")


def test_a_list_on_standard_input_may_name_files_that_are_not_text(typed: Typed, tmp_path: Path) -> None:
    name = b"caf\xe9.jpg"
    (tmp_path / os.fsdecode(name)).write_bytes(encoded(scene(1)))
    command = (str(Path(sys.executable).with_name("sightline")), "ingest", "-", "--data", "data")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input=name + b"\nno\xe9.jpg\n", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.decode().splitlines()) == (
        1,
        ["standard-input: 1 frame accepted, 1 file refused", r"  ✗ no\xe9.jpg: no such file (missing)"],
    )
