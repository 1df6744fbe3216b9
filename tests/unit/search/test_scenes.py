"""Nearly equal pictures of one scene are one hit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from schemas.points import VISUAL
from search.scenes import GAP_SECONDS, Scenes
from stores.index import Hit

START = datetime(2026, 11, 21, 8, tzinfo=UTC)


def hit(number: int, *, seconds: float = 0.0, angle: float = 0.0, feed: str = "lobby", zone: str = "+00:00") -> Hit:
    """A picture whose vector is turned by `angle` degrees."""
    vector = np.zeros(8, "<f4")
    vector[:2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    time = (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", zone)
    return Hit(
        id=str(UUID(int=number)), score=0.0, payload={"feed": feed, "time": time}, vectors={VISUAL: vector.tobytes()}
    )


def folded(*hits: Hit) -> dict[int, list[int]]:
    scenes = Scenes()
    return {UUID(first.id).int: [UUID(other).int for other in scenes.similar(first.id)] for first in scenes.add(hits)}


def test_a_scene_goes_on_while_pictures_follow_each_other() -> None:
    minutes = [hit(number, seconds=number * 300) for number in range(10)]
    assert folded(*minutes) == {0: list(range(1, 10))}
    assert folded(*reversed(minutes)) == {9: list(range(8, -1, -1))}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (hit(1, angle=5), True),
        (hit(1, angle=20), False),
        (hit(1, feed="yard"), False),
        (hit(1, seconds=GAP_SECONDS), True),
        (hit(1, seconds=GAP_SECONDS + 1), False),
        (hit(1, zone="+01:00"), False),
        (hit(1, seconds=3600, zone="+01:00"), True),
    ],
)
def test_what_is_one_scene(other: Hit, same: bool) -> None:  # noqa: FBT001 - a case
    assert folded(hit(0), other) == ({0: [1]} if same else {0: [], 1: []})


def test_scenes_of_a_shorter_list_are_the_start_of_those_of_a_longer_one() -> None:
    rng = np.random.default_rng(1)
    hits = [hit(n, seconds=float(rng.integers(4)) * 900, angle=float(rng.integers(4)) * 30) for n in range(60)]
    whole = list(folded(*hits))
    for length in range(60):
        assert list(folded(*hits[:length])) == whole[: len(folded(*hits[:length]))]


def test_what_cannot_be_compared_stays_by_itself() -> None:
    bare = Hit(id=str(UUID(int=7)), score=0.0, payload={"feed": "lobby"})
    assert folded(hit(0), bare, bare) == {0: [], 7: []}
