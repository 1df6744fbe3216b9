"""The demo as a new user runs it: it succeeds, and its searches are right by the world's ground truth."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tinyworld
from tests.whole.conftest import Run

pytestmark = [pytest.mark.whole, pytest.mark.timeout(320)]

TRUTH = json.loads((Path(next(iter(tinyworld.__path__))) / "samples" / "truth.json").read_text())
FRAME_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
PTS_PER_FRAME = 1024
"""The clips' time base is 1/10240 at 10 frames a second."""


def truth_of(demo: Run, frame: str) -> str:
    """The ground truth of a frame, as a caption."""
    event = json.loads(demo.sightline("show", frame).stdout)
    kind, *rest = event["position"].split(":")
    if kind == "still":
        return str(TRUTH["stills"][Path(rest[1]).name])
    number = int(rest[1]) // PTS_PER_FRAME
    changes = TRUTH["clips"][f"{event['feed']}.mp4"]
    return str([caption for start, caption in changes if start <= number][-1])


def test_it_ends_by_itself_with_three_searches_and_a_contact_sheet(demo: Run) -> None:
    assert demo.done.returncode == 0, demo.done.stderr
    assert demo.done.stdout.count("$ sightline search") == 3
    assert "%" in demo.done.stdout
    assert (demo.folder / "sightline-demo.jpg").read_bytes().startswith(b"\xff\xd8")
    assert demo.done.stderr.count("accepted") == 3


@pytest.mark.parametrize(
    ("query", "wanted", "refused"),
    [
        ("a red circle, but no square", "red circle", "square"),
        ("a photo of a blue square without a circle", "blue square", "circle"),
    ],
)
def test_a_search_with_a_negative_is_right(demo: Run, query: str, wanted: str, refused: str) -> None:
    answer = demo.sightline("search", query, "--limit", "4")
    frames = FRAME_ID.findall(answer.stdout)
    assert frames, answer.stdout + answer.stderr
    for frame in frames:
        truth = truth_of(demo, frame).split(". ")[0]
        assert wanted in truth
        assert refused not in truth


def test_an_empty_result_names_what_the_index_holds(demo: Run) -> None:
    answer = demo.sightline("search", "a cyan cross")
    assert "nothing matches" in answer.stdout
    assert "pictures; most frequent: " in answer.stdout


def test_unknown_words_are_named(demo: Run) -> None:
    assert "do not know: dog" in demo.sightline("search", "a dog").stdout


def test_everything_accepted_is_enriched(demo: Run) -> None:
    topics = demo.sightline("topics", "describe").stdout
    rows = {line.split()[0]: line.split() for line in topics.splitlines()}
    assert rows["frames.raw"][2] == rows["frames.enriched"][2] == rows["frames.observed"][2]
    assert rows["frames.raw"][3] == "0"
    assert "no dead letters" in demo.sightline("dead", "list").stdout
