"""A part of the data folder that is gone: every command says so in a line, and nothing empty takes its place."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge_folder import edge_folder, end
from tests.unit.sightline.conftest import Typed

PLAN = (
    '--set=segments=[["decode","embed"]]',
    "--set=serve.metrics_port=0",
)


COMMANDS = (
    ("ingest",),
    ("work", "--until-idle"),
    ("search", "circle"),
    ("demo", "--once"),
    ("dead", "list"),
    ("topics", "describe"),
    ("serve",),
)


def sources(command: tuple[str, ...], pictures: Path) -> list[str]:
    return {"ingest": [str(pictures)], "demo": ["--source", str(pictures)]}.get(command[0], [])


@pytest.fixture
def folder(typed: Typed, pictures: Path, tmp_path: Path) -> Iterator[Path]:
    """A data folder with five pictures, processed and indexed."""
    with edge_folder(tmp_path / "data" / "index"):
        assert typed("ingest", str(pictures), *PLAN).exit_code == 0
        assert typed("work", "--until-idle", *PLAN).exit_code == 0
        assert json.loads(typed("check", "--json", *PLAN).stdout)["kept"]
        yield tmp_path / "data"


def lose(folder: Path, part: str) -> None:
    with edge_folder(folder / "index"):
        pass
    if part == "log":
        for path in folder.glob("log.sqlite*"):
            path.unlink()
    else:
        shutil.rmtree(folder / part)


def is_refused(part: str, command: str) -> bool:
    """Whether the command cannot do without the part; others say that it is gone and go on."""
    needs = {"log": {"search"}, "index": {"ingest", "dead", "topics"}, "blobs": {"dead", "topics"}}
    return command not in needs[part]


@pytest.mark.parametrize("part", ["log", "index", "blobs"])
def test_a_part_that_is_gone_is_told_and_made_again(typed: Typed, folder: Path, pictures: Path, part: str) -> None:
    lose(folder, part)
    for command in COMMANDS:
        if part == "blobs" and command[0] in ("search", "serve"):
            continue
        told = typed(*command, *sources(command, pictures), *PLAN)
        lines = [line for line in told.stderr.splitlines() if " gone" in line]
        assert len(lines) == 1, (command, told.stderr)
        assert "sightline repair" in lines[0]
        assert "sightline restore" in lines[0]
        if is_refused(part, command[0]):
            assert told.exit_code == 1, command
    left = {"log": folder / "log.sqlite", "index": folder / "index" / "catalog.json", "blobs": folder / "blobs"}
    assert not left[part].exists()
    assert typed("repair", "--dry-run", *PLAN).exit_code == 0
    assert not left[part].exists()
    told = typed("repair", *PLAN)
    assert told.exit_code == 0, told.stderr
    if part == "blobs":
        assert "`sightline ingest` of the sources of shots" in told.stdout
        assert "5 lost originals restored" in typed("ingest", str(pictures), *PLAN).stdout
        assert typed("repair", *PLAN).exit_code == 0  # thumbnails, now that there are originals
    if part == "log":  # the dead frame's picture has no point that tells of it
        assert "1 frame accepted, 5 ingested before" in typed("ingest", str(pictures), *PLAN).stdout
    typed("work", "--until-idle", *PLAN)
    found = json.loads(typed("check", "--deep", "--json", *PLAN).stdout)
    faults = {name for name in ("missing", "points_missing", "orphans") if found[name]}
    assert not faults
    assert not {name: ids for name, ids in found["pictures"].items() if isinstance(ids, list) and ids}
    assert " gone" not in typed("topics", "describe", *PLAN).stderr


@pytest.mark.parametrize("files", ["page_0.dat", "catalog*.json"])
def test_a_damaged_index_is_told_and_made_whole(typed: Typed, folder: Path, pictures: Path, files: str) -> None:
    end(folder / "index", signal.SIGTERM)
    for path in [path for path in (folder / "index").rglob(files) if path.is_file()]:
        os.truncate(path, path.stat().st_size // 2)
    for command in (("search", "circle"), ("check",), ("work", "--until-idle")):
        told = typed(*command, *PLAN)
        assert told.exit_code == 1
        assert "damaged" in told.stderr
        assert "sightline repair" in told.stderr
    assert typed("repair", *PLAN).exit_code == 0
    assert typed("work", "--until-idle", *PLAN).exit_code == 0
    assert json.loads(typed("check", "--deep", "--json", *PLAN).stdout)["kept"]
