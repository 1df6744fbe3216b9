"""`sightline explore` with the tiny models, against a local API of Pixabay's shape."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.edge_folder import edge_folder
from tests.support.picture_server import ALLOWED, KEY, PictureServer, picture_server
from tests.whole.rig import SAMPLES

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]
ASKED = SAMPLES / "still-03.jpg"
"""a cartoon of a yellow star, a red circle and a red square"""


@pytest.fixture(scope="module")
def api() -> Iterator[PictureServer]:
    stills = {path.name: path.read_bytes() for path in sorted(SAMPLES.glob("still-0?.jpg"))}
    broken = {"broken.jpg": b"no picture"}
    with picture_server(stills | broken, {"*": [*stills, "broken.jpg", "gone.jpg"]}) as server:
        yield server


def explore(folder: Path, api: PictureServer, *arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    (folder / "sightline.toml").write_text(
        f"""
        segments = [["decode", "embed"]]
        fetch.allow = {list(ALLOWED)}
        [apis.local]
        url = "{api.url("/api/")}?key={{key}}&q={{query}}&page={{page}}&per_page={{per_page}}"
        key_env = "LOCAL_KEY"
        results = "hits"
        picture = "largeImageURL"
        title = "tags"
        link = "pageURL"
        credit = "user"
        per_page = 5
        pages = 4
        cache_seconds = 3600
        terms = "say where they come from"
        """
    )
    command = [str(Path(sys.executable).with_name("sightline")), "explore", str(ASKED), "--api", "local", *arguments]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "LOCAL_KEY": key}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=800, check=False
    )


def queried(api: PictureServer) -> list[str]:
    """The queries that the API received, request by request."""
    return [parse_qs(urlsplit(target).query)["q"][0] for target in api.asked.elements() if target.startswith("/api/")]


def test_one_command_leads_from_a_picture_to_similar_ones(tmp_path: Path, api: PictureServer) -> None:
    with edge_folder(tmp_path / "sightline-data" / "index"):
        done = explore(tmp_path, api)
        assert done.returncode == 0, done.stderr
        assert "yellow star" in done.stdout
        assert {"yellow", "star", "red", "circle", "square"} <= set(queried(api)[0].split())
        assert len(queried(api)) == 3, "the last page has fewer results than requested"
        assert "10 frames accepted, 2 files refused" in done.stderr
        ranked = re.findall(r"still-0\d\.jpg(?=, test)", done.stdout)
        assert len(ranked) == 10
        assert ranked[0] == ASKED.name, "the picture itself is the most similar"
        row = next(line for line in done.stdout.splitlines() if f"{ASKED.name}, test" in line)
        assert f"user of {ASKED.name}" in row
        assert api.url(f"/photos/{ASKED.name}") in row
        assert "say where they come from" in done.stdout
        assert (tmp_path / "sightline-explore.jpg").read_bytes().startswith(b"\xff\xd8")
        assert_nowhere(KEY, tmp_path, done)


def test_a_wrong_or_missing_key_is_reported_and_not_shown(tmp_path: Path, api: PictureServer) -> None:
    missing = explore(tmp_path, api, key="")
    assert (missing.returncode, "LOCAL_KEY" in missing.stderr) == (1, True)
    wrong = explore(tmp_path, api, "--query", "cats", key="my-own-secret")
    assert (wrong.returncode, "answers 400" in wrong.stderr) == (1, True)
    assert_nowhere("my-own-secret", tmp_path, wrong)


def assert_nowhere(key: str, folder: Path, *runs: subprocess.CompletedProcess[str]) -> None:
    """Neither in the output nor in any file: log, index, blobs, cached answers."""
    assert not any(key in run.stdout + run.stderr for run in runs)
    assert not [path for path in folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
