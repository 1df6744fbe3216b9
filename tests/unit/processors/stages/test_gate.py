"""The gate: the stage suite, what passes, what is left out and why."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from processors.frame import Frame
from processors.stages.gate import Gate, GateSettings, GateState
from schemas.results import check
from tests.contract.stage_suite import StageSuite
from tests.support.pictures import decoded, frame, scene


class TestGateIsAStage(StageSuite):
    @classmethod
    def make(cls) -> Gate:
        return Gate(GateSettings())

    def frames(self) -> list[Frame]:
        return [video(scene(n // 2), n / 5, feed="ab"[n % 2]) for n in range(6)] + [decoded(9)]


def video(pixels: NDArray[np.uint8], seconds: float, feed: str = "lobby") -> Frame:
    return frame(b"", feed=feed, kind="frame", number=round(seconds * 1000), seconds=seconds, pixels=pixels)


def reasons(gate: Gate, frames: list[Frame], states: dict[str, Any] | None = None) -> list[str | None]:
    gate.process(frames, states if states is not None else {each.key: gate.initial_state() for each in frames})
    return [each.skips("detect") for each in frames]


def noisy(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def test_a_still_camera_passes_once_and_again_after_the_quiet_time() -> None:
    frames = [video(noisy(scene(1), n), n) for n in range(12)]
    passed = [n for n, reason in enumerate(reasons(Gate(GateSettings(max_quiet_seconds=5)), frames)) if reason is None]
    assert passed == [0, 5, 10]
    assert frames[1].skipped[0].reason == "gate:static"
    assert [entry.stage for entry in frames[1].skipped] == ["detect", "track", "caption", "embed"]


def test_light_alone_is_a_duplicate_and_another_scene_a_change() -> None:
    brighter = (scene(1) * 1.05).astype(np.uint8)
    frames = [video(scene(1), 0), video(brighter, 1), video(scene(2), 2)]
    assert reasons(Gate(GateSettings(scene_difference=0.05)), frames) == [None, "gate:duplicate", None]
    assert [each.results["gate"]["scene_change"] for each in frames] == [False, False, True]
    assert frames[0].results["gate"]["difference"] is None
    assert frames[1].results["gate"]["luminance"] > frames[0].results["gate"]["luminance"]


def test_slow_motion_adds_up_until_it_passes() -> None:
    def moved(step: int) -> NDArray[np.uint8]:
        picture = scene(1)
        picture[40:70, 20 + step : 50 + step] = 255
        return picture

    steps = reasons(Gate(GateSettings()), [video(moved(step), step / 10) for step in range(12)])
    assert steps[1] is not None
    assert None in steps[2:]


def test_stills_are_measured_and_never_gated() -> None:
    stills = [decoded(1) for _ in range(3)]
    assert reasons(Gate(GateSettings()), stills) == [None] * 3
    assert all("gate" in each.results for each in stills)


def test_a_feed_has_its_own_thresholds() -> None:
    settings = msgspec.convert({"feeds": {"yard": {"static_difference": 0.0, "stages": ["caption"]}}}, GateSettings)
    gate = Gate(settings)
    yard = [video(noisy(scene(1), n), n, feed="yard") for n in range(2)]
    assert reasons(gate, [*yard, *(video(noisy(scene(1), n), n) for n in range(2))])[3] == "gate:static"
    assert [(entry.stage, entry.reason) for entry in yard[1].skipped] == [("caption", "gate:duplicate")]


def test_a_frame_not_newer_than_the_state_is_processed() -> None:
    gate = Gate(GateSettings())
    states = {"default/lobby": gate.initial_state()}
    frames = [video(scene(1), n) for n in range(3)]
    assert reasons(gate, frames, states) == [None, "gate:static", "gate:static"]
    again = [video(scene(1), n) for n in range(1, 4)]
    assert reasons(gate, again, states) == [None, "gate:static", "gate:static"]


def test_results_match_the_schema_at_any_decode_scale() -> None:
    full, half = video(scene(5, 640, 480), 0), video(scene(5, 640, 480)[::2, ::2].copy(), 0)
    half.image = full.image
    gate = Gate(GateSettings())
    states: dict[str, GateState] = {"default/lobby": gate.initial_state()}
    gate.process([full], states)
    gate.process([half], {"default/lobby": gate.initial_state()})
    check("gate", full.results["gate"])
    assert abs(full.results["gate"]["luminance"] - half.results["gate"]["luminance"]) < 0.01
    assert states["default/lobby"].gray is not None
    assert states["default/lobby"].gray.shape == (60, 80)
