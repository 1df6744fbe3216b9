"""Erasing as people ask for it: by id, list, feed and picture, wherever frames lie, with a receipt and its proof."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.identity import frame_id, still_position
from stores.blobs import sha256_hex
from tests.support.edge_folder import edge_folder
from tests.support.pictures import encoded, scene
from tests.unit.sightline.conftest import Typed

DECODE_ONLY = '--set=segments=[["decode"]]'
QUICK = (DECODE_ONLY, "--set", "worker.watch_seconds=0.1")
NO_FRAME = "00000000-0000-5000-8000-000000000000"


@pytest.fixture
def worked(typed: Typed, pictures: Path) -> Typed:
    """Five frames are enriched without a point, and one is dead; all of feed `shots`."""
    assert typed("ingest", "shots", DECODE_ONLY).exit_code == 0
    assert typed("work", "--until-idle", *QUICK).exit_code == 0
    return typed


def originals(folder: Path) -> set[str]:
    return {path.name for path in (folder / "data" / "blobs").rglob("*") if path.is_file() and not path.suffix}


def ids(typed: Typed, *selectors: str) -> list[str]:
    """Of everything that the selectors mean, requested for erasure."""
    result = typed("forget", *selectors, "--json", *QUICK)
    assert result.exit_code == 0, result.stderr
    return list(json.loads(result.stdout)["frames"])


def test_frames_that_no_worker_has_seen_are_erased(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    assert typed("ingest", "shots", DECODE_ONLY).exit_code == 0
    assert len(ids(typed, "--feed", "shots")) == 6
    assert typed("work", "--until-idle", *QUICK).exit_code == 0
    assert originals(tmp_path) == set()
    assert "no dead letters" in typed("dead", "list", *QUICK).stdout


def test_a_picture_selects_its_frames_and_another_frame_keeps_it(worked: Typed, pictures: Path, tmp_path: Path) -> None:
    shutil.copy(pictures / "0.jpg", tmp_path / "copy.jpg")
    assert worked("ingest", "copy.jpg", "--feed", "other", DECODE_ONLY).exit_code == 0
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    dry = worked("forget", "--picture", "copy.jpg", "--dry-run", *QUICK)
    assert dry.exit_code == 0
    assert len(ids(worked, "--picture", "copy.jpg")) == 2
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert sha256_hex((pictures / "0.jpg").read_bytes()) not in originals(tmp_path)
    assert len(originals(tmp_path)) == 5


def test_a_picture_that_a_killed_ingest_left_is_erased(worked: Typed, tmp_path: Path) -> None:
    left = encoded(scene(77))
    folder = next(path.parent for path in (tmp_path / "data" / "blobs").rglob("*") if path.name in originals(tmp_path))
    (folder / sha256_hex(left)).write_bytes(left)
    old = time.time() - 3600
    os.utime(folder / sha256_hex(left), (old, old))
    (tmp_path / "left.jpg").write_bytes(left)
    assert len(ids(worked, "--picture", "left.jpg")) == 1
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert sha256_hex(left) not in originals(tmp_path)


def test_a_receipt_is_proved_and_an_unknown_id_refuses_no_other(worked: Typed, tmp_path: Path) -> None:
    listed = json.loads(worked("forget", "--all", "--dry-run", "--json", *QUICK).stdout)
    assert listed["where"] == {"on the log": 6, "dead-lettered": 1}
    frame = listed["frames"][0]

    (tmp_path / "ids.txt").write_text(f"{frame}\n{NO_FRAME}\n")
    result = worked("forget", "--ids", "ids.txt", "--json", "--reason", "request 4711", *QUICK)
    assert result.exit_code == 1
    receipt = json.loads(result.stdout)
    assert (receipt["frames"], receipt["unknown"], receipt["reason"]) == ([frame], [NO_FRAME], "request 4711")

    second = json.loads(worked("forget", frame, "--json", *QUICK).stdout)["request"]
    assert second != receipt["request"]
    pending = worked("forget", "verify", receipt["request"], *QUICK)
    assert (pending.exit_code, "not reported as erased" in pending.stdout) == (1, True)
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    proved = worked("forget", "verify", receipt["request"], "--json", *QUICK)
    assert proved.exit_code == 0, proved.stdout
    assert json.loads(proved.stdout)["selection"] == receipt["selection"]
    assert f"frame {frame} was erased" in worked("show", frame, *QUICK).stderr
    assert "there is no request" in worked("forget", "verify", NO_FRAME, *QUICK).stderr
    (tmp_path / "data" / "blobs.before-20261101T000000").mkdir()
    aside = worked("forget", "verify", receipt["request"], *QUICK)
    assert aside.exit_code == 1
    assert "blobs.before-20261101T000000 is an older copy" in aside.stderr


def test_an_older_copy_of_the_log_does_not_bring_a_frame_back(worked: Typed, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "data", tmp_path / "older", ignore=shutil.ignore_patterns("index"))
    assert len(ids(worked, "--feed", "shots")) == 6
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    for path in (tmp_path / "data").glob("log.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "older" / "log.sqlite", tmp_path / "data" / "log.sqlite")
    shutil.rmtree(tmp_path / "data" / "blobs")
    shutil.copytree(tmp_path / "older" / "blobs", tmp_path / "data" / "blobs")
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert originals(tmp_path) == set()
    assert "no dead letters" in worked("dead", "list", *QUICK).stdout


def drop_records(tmp_path: Path) -> None:
    """As retention does, long after the frames were processed."""
    with closing(sqlite3.connect(tmp_path / "data" / "log.sqlite")) as log, log:
        frames = log.execute(
            "SELECT partitions.id FROM partitions JOIN topics ON topics.id = topic_id WHERE topics.name LIKE 'frames.%'"
        )
        for (number,) in frames.fetchall():
            log.execute(f"DELETE FROM records_{number}")  # noqa: S608
            log.execute("UPDATE partitions SET first_offset = next_offset, bytes = 0 WHERE id = ?", (number,))


def test_a_frame_of_which_only_the_acceptance_is_left_loses_its_picture(worked: Typed, tmp_path: Path) -> None:
    frames = json.loads(worked("forget", "--all", "--dry-run", "--json", *QUICK).stdout)["frames"]
    drop_records(tmp_path)
    assert len(originals(tmp_path)) == 6
    receipt = json.loads(worked("forget", *frames[:4], "--json", *QUICK).stdout)
    assert receipt["where"] == {"accepted": 4}
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert len(originals(tmp_path)) == 2
    assert len([*(tmp_path / "data" / "blobs").rglob("*.thumb")]) <= 2
    proof = json.loads(worked("forget", "verify", receipt["request"], "--json", *QUICK).stdout)
    assert (proof["done"], proof["without_picture"]) == (True, [])


def test_a_kept_frame_is_found_and_erased_when_log_and_index_have_dropped_it(worked: Typed, tmp_path: Path) -> None:
    frame = json.loads(worked("forget", "--all", "--dry-run", "--json", *QUICK).stdout)["frames"][0]
    assert worked("keep", frame, *QUICK).exit_code == 0
    drop_records(tmp_path)
    assert "kept" in json.loads(worked("forget", frame, "--json", *QUICK).stdout)["where"]
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert len(originals(tmp_path)) == 5
    assert "kept" not in json.loads(worked("forget", "--all", "--dry-run", "--json", *QUICK).stdout)["where"]


def test_pictures_that_an_older_copy_brings_back_fail_the_proof_and_are_erased_again(
    worked: Typed, tmp_path: Path
) -> None:
    blobs = tmp_path / "data" / "blobs"
    shutil.copytree(blobs, tmp_path / "older")
    receipt = json.loads(worked("forget", "--feed", "shots", "--json", *QUICK).stdout)
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert worked("forget", "verify", receipt["request"], *QUICK).exit_code == 0
    shutil.copytree(tmp_path / "older", blobs, dirs_exist_ok=True)
    proof = worked("forget", "verify", receipt["request"], *QUICK)
    assert (proof.exit_code, "pictures stored" in proof.stdout) == (1, True)
    assert len(ids(worked, *receipt["frames"])) == 6
    assert worked("work", "--until-idle", *QUICK).exit_code == 0
    assert originals(tmp_path) == set()
    assert worked("forget", "verify", receipt["request"], *QUICK).exit_code == 0


def test_an_unknown_frame_is_refused_when_it_comes(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    content = (pictures / "0.jpg").read_bytes()
    frame = frame_id("default", "shots", still_position(str(pictures / "0.jpg"), sha256_hex(content)))
    assert typed("ingest", "shots/1.jpg", "--feed", "shots", DECODE_ONLY).exit_code == 0
    unknown = typed("forget", frame, *QUICK)
    assert (unknown.exit_code, "are refused if they come" in unknown.stderr) == (1, True)
    assert typed("work", "--until-idle", *QUICK).exit_code == 0
    assert "1 forgotten before" in typed("ingest", "shots", DECODE_ONLY).stdout
    assert sha256_hex(content) not in originals(tmp_path)


def test_a_frame_of_another_tenant_is_named_and_only_its_tenant_erases_it(typed: Typed, pictures: Path) -> None:
    museum = ("--set", "tenant=museum")
    assert typed("ingest", "shots", DECODE_ONLY, *museum).exit_code == 0
    assert typed("ingest", "shots", DECODE_ONLY).exit_code == 0
    listed = json.loads(typed("forget", "--tenant", "museum", "--dry-run", "--json", *QUICK).stdout)["frames"]
    assert len(listed) == 6
    other = typed("forget", listed[0], *QUICK)
    assert (other.exit_code, "of tenant museum: add --tenant museum" in other.stderr) == (1, True)
    assert "--yes erases them" in typed("forget", "--tenant", "museum", *QUICK).stderr
    assert sorted(ids(typed, "--tenant", "museum", "--yes")) == sorted(listed)
    assert typed("work", "--until-idle", *QUICK).exit_code == 0
    again = typed("forget", "--tenant", "museum", "--dry-run", *QUICK)
    assert "no frame of tenant museum is selected" in again.stdout
    assert "--yes erases them" in typed("forget", "--all", *QUICK).stderr
    assert len(ids(typed, "--all", "--yes")) == 6


def test_many_frames_need_a_yes_and_nothing_selected_is_refused(worked: Typed) -> None:
    assert "select by" in worked("forget", *QUICK).stderr
    mistyped = worked("forget", "--feed", "shot", *QUICK)
    assert mistyped.exit_code == 1
    assert "tenant default has no feed 'shot'; its feeds: shots" in mistyped.stderr
    assert "no frame of tenant default is selected: nothing was requested" in mistyped.stdout
    assert "is not before --until" in worked("forget", "--since", "2h", "--until", "3h", *QUICK).stderr
    assert "is no request" in worked("forget", "verify", "123", *QUICK).stderr


def test_near_duplicates_are_listed_and_need_a_yes(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    embedding = '--set=segments=[["decode","embed"]]'
    content = cv2.imdecode(np.frombuffer((pictures / "0.jpg").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert content is not None
    cv2.imwrite(str(pictures / "0-again.jpg"), content, [cv2.IMWRITE_JPEG_QUALITY, 60])
    near = ("forget", "--picture", "shots/0.jpg", "--near", embedding, "--set=worker.watch_seconds=0.1")
    assert typed("ingest", "shots", embedding).exit_code == 0
    assert typed("work", "--until-idle", embedding, "--set=worker.watch_seconds=0.1").exit_code == 0
    assert "name it with --picture" in typed("forget", "--near", "--all", embedding).stderr
    listed = typed(*near, "--dry-run")
    assert listed.stdout.count("near-duplicate, similarity 0.9") == 1
    assert "--yes erases them" in typed(*near).stderr
    assert len(json.loads(typed(*near, "--yes", "--json").stdout)["frames"]) == 2


def test_search_shows_no_erased_frame_that_an_older_copy_of_the_index_has(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    index, plan = tmp_path / "data" / "index", ('--set=segments=[["decode","embed"]]', "--set=worker.watch_seconds=0.1")
    with edge_folder(index):
        assert typed("ingest", "shots", *plan).exit_code == 0
        assert typed("work", "--until-idle", *plan).exit_code == 0
    shutil.copytree(index, tmp_path / "older")
    with edge_folder(index):
        frames = json.loads(typed("forget", "--picture", "shots/0.jpg", "--json", *plan).stdout)["frames"]
        assert len(frames) == 1
        assert typed("work", "--until-idle", *plan).exit_code == 0
    shutil.rmtree(index)
    shutil.copytree(tmp_path / "older", index)
    with edge_folder(index):
        found = typed("search", "feed:shots", *plan)
        assert (found.exit_code, found.stdout.count("shots/"), frames[0] in found.stdout) == (0, 4, False), found.output


def test_deletions_survive_the_loss_of_the_data_folder_where_pictures_lie_elsewhere(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    there = (*QUICK, f"--set=blobs={tmp_path / 'disk' / 'pictures'}")
    assert typed("ingest", "shots", *there).exit_code == 0
    assert typed("forget", "--picture", "shots/0.jpg", *there).exit_code == 0
    assert typed("work", "--until-idle", *there).exit_code == 0
    shutil.rmtree(tmp_path / "data")
    assert "1 forgotten before" in typed("ingest", "shots", *there).stdout
    assert typed("check", *there).exit_code == 1  # five accepted, no worker yet
    assert typed("work", "--until-idle", *there).exit_code == 0
    assert sha256_hex((pictures / "0.jpg").read_bytes()) not in {path.name for path in (tmp_path / "disk").rglob("*")}
    assert typed("check", "--deep", *there).exit_code == 0
