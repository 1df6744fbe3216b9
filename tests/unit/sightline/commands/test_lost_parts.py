"""A part of the data folder that is gone: every command says so in a line, and nothing empty takes its place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge_folder import edge_folder
from tests.unit.sightline.conftest import Typed

EMBED = Path(__file__).with_name("quick_embed.py")
PLAN = (
    '--set=segments=[["decode","embed"]]',
    "--set=serve.metrics_port=0",
)


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


def test_parts_that_are_gone(typed: Typed, folder: Path, pictures: Path) -> None:
    whole = folder.with_name("whole")
    lose_nothing = edge_folder(folder / "index")
    with lose_nothing:
        pass
    shutil.copytree(folder, whole)
    for part in ("log", "index", "blobs"):
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        lose(folder, part)
        for command in (
            ("ingest", str(pictures)),
            ("work", "--until-idle"),
            ("search", "circle"),
            ("demo", "--once", "--source", str(pictures)),
            ("dead", "list"),
            ("topics", "describe"),
            ("serve",),
        ):
            if part == "blobs" and command[0] in ("search", "serve"):
                continue
            told = typed(*command, *PLAN)
            assert "gone" in told.stderr, (part, command, told.stderr, told.stdout)
            assert "sightline repair" in told.stderr
            assert "sightline restore" in told.stderr
            refused = part == "log" or command[0] in ("work", "demo") or (part, command[0]) == ("blobs", "ingest")
            refused = refused or (part == "index" and command[0] in ("search", "serve"))
            assert not (refused and command[0] != "search") or told.exit_code == 1, (part, command)
        left = {"log": folder / "log.sqlite", "index": folder / "index" / "catalog.json", "blobs": folder / "blobs"}
        assert not left[part].exists()
