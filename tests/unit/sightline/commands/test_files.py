"""Files, folders and disks that are not as a command needs them: one line that names them, and nothing is made."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from schemas import points
from sightline.config import ServeSettings
from stores.edge.client import EdgeIndex
from stores.index import CollectionSpec, Point
from streams.sqlite.transport import SqliteTransport
from tests.support.edge_folder import edge_folder
from tests.support.small_disk import small_disk
from tests.support.without_rights import run_without_rights
from tests.unit.sightline.conftest import Typed

SIGHTLINE = str(Path(sys.executable).with_name("sightline"))
FRAME = "00000000-0000-5000-8000-000000000000"
SPEC = CollectionSpec(name="frames-other-12ab", vectors={"semantic": 4}, payload=dict(points.FRAME_FIELDS))
FULL_MEBIBYTES = 1


@pytest.fixture
def other_index(tmp_path: Path) -> Iterator[Path]:
    """The index of a data folder, with one picture of other models."""

    async def write(folder: Path) -> None:
        index = EdgeIndex(folder)
        await index.ensure(SPEC, points.FRAMES)
        await index.upsert(SPEC.name, [Point(id=FRAME, vectors={"semantic": np.ones(4, np.float32)}, payload={})])
        await index.flush()
        await index.close()

    with edge_folder(tmp_path / "data" / "index") as folder:
        asyncio.run(write(folder))
        yield folder


def only_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "command",
    [
        "search circle",
        "topics describe",
        "topics check",
        f"show {FRAME}",
        "check",
        f"forget {FRAME}",
        "dead list",
        f"dead show {FRAME}",
        "dead replay --all",
        "feeds list",
        "feeds pause lobby",
    ],
)
def test_a_missing_data_folder_is_told_and_not_made(typed: Typed, tmp_path: Path, command: str) -> None:
    result = typed(*command.split())
    assert result.exit_code == 1
    assert f"there is no data folder {tmp_path / 'data'}: choose another with --data" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_data_folder_in_which_nothing_is_indexed(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    result = typed("search", "circle")
    assert (result.exit_code, "nothing is indexed yet" in result.stderr) == (1, True)
    assert not list((tmp_path / "data").iterdir())


def test_an_index_of_other_models_says_of_which(typed: Typed, other_index: Path) -> None:
    result = typed("search", "circle")
    assert result.exit_code == 1
    assert "the pictures here are indexed with other-12ab (1), not with tiny-" in result.stderr
    assert "`sightline work --models tiny --set worker.group=sightline-tiny`" in result.stderr


async def _make_log(path: Path) -> None:
    transport = SqliteTransport.from_url(f"sqlite:///{path}")
    await transport.open()
    await transport.close()


def test_a_data_folder_that_may_not_be_written_is_told_at_once(other_index: Path, tmp_path: Path) -> None:
    asyncio.run(_make_log(tmp_path / "data" / "log.sqlite"))
    subprocess.run(("chmod", "-R", "a-w", str(tmp_path / "data")), check=True)
    try:
        search = run_without_rights(SIGHTLINE, "search", "circle", "--data", "data", cwd=tmp_path)
        describe = run_without_rights(SIGHTLINE, "topics", "describe", "--data", "data", cwd=tmp_path)
    finally:
        subprocess.run(("chmod", "-R", "u+w", str(tmp_path / "data")), check=True)
    assert only_line(search) == f"✗ the index {other_index}: Permission denied; make it writable"
    assert describe.returncode == 0, "what only reads works"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, f"{FULL_MEBIBYTES}m") as disk:
        yield disk


def test_a_full_disk_is_named_at_once(full_disk: Path, tmp_path: Path) -> None:
    index = full_disk / "data" / "index"
    index.mkdir(parents=True)
    with suppress(OSError), (full_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    command = (SIGHTLINE, "search", "circle", "--data", "disk/data")
    with edge_folder(index):
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert only_line(result) == f"✗ the index {index}: No space left on device; make room on its disk"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("demo", "--once", "--sheet", "nowhere/sheet.jpg"), "nowhere/sheet.jpg cannot be written: No such file"),
        (("demo", "--once", "--sheet", "shots"), "shots cannot be written: Is a directory"),
        (("demo", "--once", "--source", "nowhere.mp4"), "nowhere.mp4: no such file or folder"),
        (("calibrate", "pairs.tsv"), "pairs.tsv: 40 pictures missing, first shots/gone-0.jpg"),
        (("detect", "shots/0.jpg", "--out", "nowhere/x.jpg"), "nowhere/x.jpg cannot be written: No such file"),
        (("show", FRAME, "--out", "nowhere/x.jpg"), "nowhere/x.jpg cannot be written: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_found_before_models_load(
    typed: Typed, pictures: Path, tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "pairs.tsv").write_text("".join(f"shots/gone-{number}.jpg\ta circle\n" for number in range(40)))
    result = typed(*arguments)
    assert (result.exit_code, result.stderr.startswith(f"✗ {line}")) == (1, True), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("search", "circle", "--limit", "0"), "Invalid value for '--limit'"),
        (("search", "--image", "https://me:s3cret@there/1.jpg"), "https://… is an address, not a file: download"),
        (("caption", "http://there/1.jpg"), "http://… is an address, not a file: download"),
        (("demo", "--source", "shots", "--set", "serve.port=many"), "serve.port = 'many'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_use_is_told_with_the_way_out(
    typed: Typed, pictures: Path, tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    result = typed(*arguments)
    assert result.exit_code == 2
    assert line in " ".join(result.stderr.replace("│", " ").split()), result.stderr
    assert "s3cret" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_default_metrics_port_in_use_is_not_replaced_silently(typed: Typed, pictures: Path) -> None:
    port = ServeSettings().metrics_port
    with ExitStack() as stack:
        with suppress(OSError):  # it is in use by another process: as well
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        result = typed("work", "--until-idle", '--set=segments=[["decode"]]')
    assert result.exit_code == 0, result.stderr
    assert f", because port {port} is in use" in result.stderr
