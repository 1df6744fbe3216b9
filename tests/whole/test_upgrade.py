"""The data folder of an earlier version is opened, worked to its end and searched (`data/README.md` describes it)."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from sightline.config import FUSED
from tests.support.edge_folder import edge_folder
from tests.whole.conftest import Run, sightline

pytestmark = [pytest.mark.whole, pytest.mark.timeout(320)]

ARCHIVE = Path(__file__).with_name("data") / "data-0.1.0.tar.xz"
POINTS = {"yard": 7, "left": 14, "later": 4}
"""Points by feed once everything accepted is processed and both deletions are applied."""
DELETED_BEFORE = "496f27ce-255e-5f9b-97d3-0b783fb18967"
DELETED_NOW = "275d82fb-083a-5616-badc-57a5a4312861"
"""The deletion is requested in the archive and not applied."""
ORIGINAL_OF_DELETED = "187371b3c4d5d90796a89511e3afd9cecc8d3cc772e57f3d3f8de7a94ddcc358"
ENRICHED_BEFORE, ENRICHED_NOW = "94671fb4-3bb5-5db5-abe1-7b135ae878d4", "97a12313-8f5f-5815-8fc4-0696c5c039a4"
UNREADABLE = "4a9c75cb-0f9c-5734-b06b-3822b61def01"
FRAME_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Worked to its end by the present code.

    The log drops what is older than its retention every 30 seconds, dead letters too. The archive's records grow older
    than that, so the worker, which may run for longer, leaves them alone.
    """
    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    log = f"sqlite:///{folder / 'data' / 'log.sqlite'}?retention_every_seconds=86400"
    settings = ("--set", f"transport={log}", "--set", "serve.metrics_port=0")
    with edge_folder(folder / "data" / "index"):
        worked = ("work", "--until-idle", "--data", str(folder / "data"), *settings)
        yield Run(folder, sightline(*worked, cwd=folder, seconds=300))


@dataclass(frozen=True)
class Shown:
    """A picture as a search prints it: a line of what it shows, and a line of where it comes from."""

    caption: str
    feed: str
    frame: str


def search(run: Run, *arguments: str) -> list[Shown]:
    """Best first."""
    done = run.sightline("search", *arguments)
    assert done.returncode == 0, done.stderr
    return [
        Shown(caption, origin.split()[0], frame[0])
        for caption, origin in pairwise(done.stdout.splitlines())
        if (frame := FRAME_ID.findall(origin))
    ]


def test_it_is_worked_to_its_end(upgraded: Run) -> None:
    assert upgraded.done.returncode == 0, upgraded.done.stderr


def test_every_frame_is_indexed_once_and_no_deleted_frame(upgraded: Run) -> None:
    feeds = [argument for feed in POINTS for argument in ("--feed", feed)]
    shown = search(upgraded, *feeds, "--limit", "100")
    assert Counter(each.feed for each in shown) == POINTS
    frames = {each.frame for each in shown}
    assert len(frames) == sum(POINTS.values())
    assert not {DELETED_BEFORE, DELETED_NOW} & frames


def test_a_deletion_of_before_the_upgrade_erases_the_original(upgraded: Run) -> None:
    with tarfile.open(ARCHIVE) as archive:
        before = {Path(name).name for name in archive.getnames() if "/blobs/" in name}
    after = {path.name for path in (upgraded.folder / "data" / "blobs").rglob("*")}
    assert before - after == {ORIGINAL_OF_DELETED}


def test_words_find_pictures_of_before_and_after_the_upgrade(upgraded: Run) -> None:
    """The vectors that both versions computed lie in one space."""
    shown = search(upgraded, "a circle", "--limit", "4")
    assert len(shown) == 4
    assert all("circle" in each.caption for each in shown), shown
    feeds = {each.feed for each in shown}
    assert "later" in feeds
    assert feeds - {"later"}


@pytest.mark.parametrize("frame", [ENRICHED_BEFORE, ENRICHED_NOW])
def test_the_event_of_a_frame_is_read(upgraded: Run, frame: str) -> None:
    done = upgraded.sightline("show", frame)
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout)
    assert event["id"] == frame
    assert [entry["stage"] for entry in event["trace"]] == [stage for segment in FUSED for stage in segment]


def test_the_dead_letter_is_listed(upgraded: Run) -> None:
    done = upgraded.sightline("dead", "list")
    assert done.returncode == 0, done.stderr
    assert FRAME_ID.findall(done.stdout) == [UNREADABLE]
    assert "unreadable_image" in done.stdout
