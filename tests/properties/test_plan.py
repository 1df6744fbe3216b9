"""Plans: every split of a valid plan is valid and does the same work; a missing stage or field is reported."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.frame import LOCAL_FIELDS, Frame
from processors.stage import Lane
from schemas.events import TraceEntry
from streams.errors import PlanError
from streams.plan import GIVEN, Plan, StageShape, check
from streams.worker.route import Mode, Router
from tests.support.in_flight import frame


@dataclass(frozen=True)
class Shape:
    name: str
    requires: frozenset[str]
    provides: frozenset[str]
    lane: Lane = "cpu"


def shape(name: str, requires: str = "", provides: str = "") -> Shape:
    return Shape(name, frozenset(requires.split()), frozenset(provides.split()))


CHAIN = (
    shape("decode", "original", "pixels thumbnail_jpeg"),
    shape("gate", "pixels"),
    shape("detect", "pixels", "detections"),
    shape("track", "detections", "detections"),
    shape("caption", "pixels", "captions"),
    shape("refine", "captions", "refinement"),
    shape("embed", "pixels captions", "embeddings"),
    shape("moderate", "embeddings", "moderation labels"),
)
STAGES: dict[str, StageShape] = {stage.name: stage for stage in CHAIN}
NAMES = tuple(STAGES)


@st.composite
def splits(draw: st.DrawFn) -> Plan:
    """The chain split at any points; a segment that needs pixels decodes them itself."""
    ends = sorted(draw(st.sets(st.integers(1, len(NAMES) - 1), max_size=4)))
    runs = [NAMES[a:b] for a, b in zip([0, *ends], [*ends, len(NAMES)], strict=True)]
    return Plan(tuple(_with_decode(run) for run in runs))


def _with_decode(run: tuple[str, ...]) -> tuple[str, ...]:
    wants = any("pixels" in STAGES[name].requires for name in run)
    return ("decode", *run) if wants and "decode" not in run else run


def traverse(plan: Plan, traveler: Frame) -> tuple[list[str], list[str]]:
    """Route a frame through every segment: the stages that would run, and those that would run again."""
    ran: list[str] = []
    again: list[str] = []
    for segment in plan.segments:
        stages = [STAGES[name] for name in segment]
        route = Router(stages, STAGES).route(traveler)
        fields = route.fields
        for stage, mode in zip(stages, route.modes, strict=True):
            if mode is Mode.PASS or traveler.skips(stage.name):
                continue
            if not stage.requires <= fields:
                traveler.skip(stage.name, f"requires:{min(stage.requires - fields)}")
                continue
            fields |= stage.provides
            (again if mode is Mode.AGAIN else ran).append(stage.name)
            if mode is Mode.RUN:
                traveler.trace = (*traveler.trace, TraceEntry(stage=stage.name, worker="w"))
    return ran, again


@given(splits())
def test_every_split_of_a_valid_plan_is_valid_and_runs_each_stage_once(plan: Plan) -> None:
    check(plan, STAGES)
    ran, again = traverse(plan, frame())
    assert ran == list(NAMES)
    assert set(again) <= {"decode"}
    assert plan.stages == NAMES
    topics = plan.topics()
    assert (topics[0], topics[-1], len(set(topics))) == ("frames.raw", "frames.enriched", len(plan.segments) + 1)
    assert [plan.topic_out_of(n) for n in range(len(plan.segments))] == list(topics[1:])


@given(splits(), st.sets(st.sampled_from(NAMES[2:])))
def test_skips_are_the_same_however_the_plan_is_split(plan: Plan, gated: set[str]) -> None:
    split, fused = frame(), frame()
    for each in (split, fused):
        for name in gated:
            each.skip(name, "gate:static")
    assert traverse(plan, split)[0] == traverse(Plan((NAMES,)), fused)[0]
    assert split.skipped == fused.skipped
    done = {entry.stage for entry in split.trace} | {entry.stage for entry in split.skipped}
    assert done == set(NAMES), "no stage disappears silently"


@given(splits(), st.integers(0, len(NAMES)))
def test_any_plan_finishes_anothers_records(plan: Plan, done: int) -> None:
    """A frame that another plan processed in part: the remaining stages run, and only local fields are made again."""
    partial = frame()
    partial.trace = tuple(TraceEntry(stage=name, worker="elsewhere") for name in NAMES[:done])
    assert traverse(plan, partial)[0] == list(NAMES[done:])


def test_decode_does_not_run_again_where_no_remaining_stage_requires_pixels() -> None:
    partial = frame()
    partial.trace = tuple(TraceEntry(stage=name, worker="w") for name in ("decode", "gate", "detect", "track"))
    for name in ("caption", "embed"):
        partial.skip(name, "gate:static")
    stages = [STAGES[name] for name in ("decode", "caption", "refine", "embed", "moderate")]
    route = Router(stages, STAGES).route(partial)
    assert route.modes[0] is Mode.PASS
    assert not route.needs_original


def test_an_unknown_stage_in_the_trace_counts_by_the_fields_it_filled_in() -> None:
    partial = frame()
    partial.trace = (TraceEntry(stage="unknown_captioner", worker="w"),)
    router = Router([STAGES["refine"]], STAGES)
    assert "captions" not in router.route(partial).fields
    partial.captions = ("a caption",)  # type: ignore[assignment]
    assert "captions" in router.route(partial).fields


@given(splits(), st.data())
def test_a_plan_without_a_required_stage_is_refused(plan: Plan, data: st.DataObject) -> None:
    needed = data.draw(st.sampled_from(["decode", "detect", "caption", "embed"]))
    rest = tuple(kept for run in plan.segments if (kept := tuple(name for name in run if name != needed)))
    if len({name for run in rest for name in run} - {"decode"}) == 0 or any(
        not Plan(rest).new_stages(n) for n in range(len(rest))
    ):
        return
    with pytest.raises(PlanError) as refused:
        check(Plan(rest), STAGES)
    lost = STAGES[needed].provides - {"thumbnail_jpeg", "detections"} or STAGES[needed].provides
    assert any(repr(field) in reason for reason in refused.value.reasons for field in lost)


def test_all_reasons_come_at_once() -> None:
    with pytest.raises(PlanError) as unknown:
        check(Plan((("decode", "paint"), (), ("gate", "gate", "sing"))), STAGES)
    assert len(unknown.value.reasons) == 4
    with pytest.raises(PlanError) as missing:
        check(Plan((("decode", "refine"), ("caption", "moderate", "refine"))), STAGES)
    assert missing.value.reasons == [
        "stage 'refine' stands in several segments, but provides no local field that would be needed again",
        "stage 'refine' requires 'captions', which no earlier stage of the plan provides",
        "stage 'caption' requires 'pixels', which no earlier stage of its segment provides (it is local)",
        "stage 'moderate' requires 'embeddings', which no earlier stage of the plan provides",
    ]
    with pytest.raises(PlanError, match="no segment"):
        check(Plan(()), STAGES)
    with pytest.raises(PlanError, match="segment 2 has no stage that an earlier segment has not"):
        check(Plan((("decode", "gate"), ("decode",))), STAGES)


def test_a_stage_in_an_unknown_lane_is_refused() -> None:
    elsewhere = Shape("gate", frozenset({"pixels"}), frozenset(), lane="tpu")
    with pytest.raises(PlanError, match="stage 'gate' has lane 'tpu'; the lanes are cpu, gpu"):
        check(Plan((("decode", "gate"),)), {**STAGES, "gate": elsewhere})


def test_given_fields_are_fields_of_a_frame() -> None:
    assert all(hasattr(frame(), name) for name in GIVEN | LOCAL_FIELDS)
