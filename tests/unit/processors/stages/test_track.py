"""Tracks: the stage suite, names that stay, and names that never come twice."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from processors.frame import Frame
from processors.stages.track import Track, TrackSettings
from schemas.events import Detection
from tests.contract.stage_suite import StageSuite
from tests.support.pictures import frame, scene

Boxes = list[tuple[float, float]]


def video_frame(corners: Boxes, seconds: float, feed: str = "lobby") -> Frame:
    made = frame(b"", feed=feed, kind="frame", number=round(seconds * 1000), seconds=seconds, pixels=scene(1))
    made.detections = tuple(Detection(label="disc", confidence=0.9, box=(x, y, x + 30, y + 30)) for x, y in corners)
    return made


class TestTrackIsAStage(StageSuite):
    @classmethod
    def make(cls) -> Track:
        return Track(TrackSettings())

    def frames(self) -> list[Frame]:
        return [video_frame([(10 + 4 * n, 20), (90 - 4 * n, 60)], n / 5, feed="ab"[n % 2]) for n in range(6)]


def follow(frames: list[Frame], states: dict[str, Any] | None = None) -> list[tuple[str, ...]]:
    stage = Track(TrackSettings())
    stage.open("cpu")
    stage.process(frames, states if states is not None else {each.key: stage.initial_state() for each in frames})
    return [tuple(detection.track for detection in each.detections) for each in frames]


def test_things_keep_their_names_while_they_move_and_are_named_at_once() -> None:
    names = follow([video_frame([(10 + 12 * n, 20), (90, 60 + 3 * n)], n / 2) for n in range(6)])
    assert len(set(names)) == 1
    assert len(set(names[0])) == 2
    assert all(names[0])


def test_a_newcomer_is_named_and_one_who_leaves_is_forgotten() -> None:
    names = follow(
        [
            video_frame([(10, 20)], 0),
            video_frame([(10, 20), (90, 60)], 1),
            *[video_frame([(10, 20)], n) for n in range(2, 20)],
        ]
    )
    assert names[0][0] == names[-1][0]
    back = [
        video_frame([(10, 20), (90, 60)], 0),
        *[video_frame([(10, 20)], n) for n in range(1, 20)],
        video_frame([(10, 20), (90, 60)], 20),
    ]
    first, *_, last = follow(back)
    assert last[0] == first[0]
    assert last[1] not in first


def test_feeds_stills_and_times_have_names_of_their_own() -> None:
    still = video_frame([(10, 20)], 0, feed="stills")
    still.kind = "still"
    names = follow([video_frame([(10, 20)], 0, "a"), video_frame([(10, 20)], 0, "b"), still])
    assert names[0] != names[1]
    assert names[2] == ("",)
    gap = follow([video_frame([(10, 20)], 0), video_frame([(10, 20)], 100)])
    assert gap[0] != gap[1]
    cut = [video_frame([(10, 20)], 0), video_frame([(10, 20)], 1)]
    cut[1].results["gate"] = {"scene_change": True}
    assert len(set(follow(cut))) == 2


def test_the_state_is_copied_whole() -> None:
    stage = Track(TrackSettings())
    kept = {"default/lobby": stage.initial_state()}
    follow([video_frame([(10 + 4 * n, 20)], n) for n in range(5)], kept)
    first, second = (
        follow([video_frame([(30, 20)], 5), video_frame([(34, 20)], 6)], copy.deepcopy(kept)) for _ in range(2)
    )
    assert first == second
    assert np.isfinite(kept["default/lobby"].newest_seconds)
