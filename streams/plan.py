"""The plan: which stages there are, in which segments, and the topics between them.

A plan is checked before anything is loaded. What could fail later (a missing field, a stage that would run twice)
is refused at start, with every reason at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from processors.frame import LOCAL_FIELDS
from processors.stage import Lane
from schemas import topics
from streams.errors import PlanError

LANES = ("cpu", "gpu")
"""Where a stage may run; `streams/worker/lanes.py` has an executor for each."""
GIVEN = frozenset(
    {"id", "tenant", "feed", "kind", "position", "ingested", "captured", "image", "original", "results", "skipped"}
    | {"published", "model_set", "version", "trace", "extra", "max_age_seconds"}
)
"""Fields that every frame has before its first stage; `original` is fetched by the runtime where they are required."""


class StageShape(Protocol):
    """What a plan needs to know about a stage. A stage's class has it."""

    @property
    def name(self) -> str: ...
    @property
    def lane(self) -> Lane: ...
    @property
    def requires(self) -> frozenset[str]: ...
    @property
    def provides(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Runs of adjacent stages; a stage that provides a local field may stand in several segments."""

    segments: tuple[tuple[str, ...], ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """Each stage once, in order."""
        return tuple(dict.fromkeys(name for segment in self.segments for name in segment))

    def new_stages(self, segment: int) -> tuple[str, ...]:
        """The stages of a segment that no earlier segment has."""
        before = {name for earlier in self.segments[:segment] for name in earlier}
        return tuple(name for name in self.segments[segment] if name not in before)

    def topic_into(self, segment: int) -> str:
        """`frames.raw`, or `frames.to.STAGE` with the first new stage of the segment."""
        return topics.RAW if segment == 0 else topics.between(self.new_stages(segment)[0])

    def topic_out_of(self, segment: int) -> str:
        return topics.ENRICHED if self.is_last(segment) else self.topic_into(segment + 1)

    def is_last(self, segment: int) -> bool:
        return segment == len(self.segments) - 1

    def topics(self) -> tuple[str, ...]:
        """Every topic that frames travel on, in order."""
        return (*(self.topic_into(segment) for segment in range(len(self.segments))), topics.ENRICHED)

    def topic_for(self, done: Collection[str]) -> str:
        """Where a frame goes on for which these stages are done or skipped: to the first segment with another one."""
        for number in range(len(self.segments)):
            if not set(self.new_stages(number)) <= set(done):
                return self.topic_into(number)
        return self.topic_into(len(self.segments) - 1)

    def readers(self, prefix: str) -> dict[str, str]:
        """The topic that each segment's consumer group reads."""
        return {self.group(prefix, number): self.topic_into(number) for number in range(len(self.segments))}

    def group(self, prefix: str, segment: int) -> str:
        """The consumer group of a segment: named for its first new stage, so that segments do not share offsets."""
        return f"{prefix}.{self.new_stages(segment)[0]}"


def check(plan: Plan, stages: Mapping[str, StageShape]) -> None:
    """Raise PlanError with every reason why `plan` cannot work; `stages` are those that exist, by name."""
    reasons = reasons_against(plan, stages)
    if reasons:
        raise PlanError(reasons)


def reasons_against(plan: Plan, stages: Mapping[str, StageShape]) -> list[str]:
    """Every reason why `plan` cannot work."""
    reasons = [*shape_reasons(plan), *_unknown_reasons(plan, stages)]
    return reasons or [*_lane_reasons(plan, stages), *_repeat_reasons(plan, stages), *_field_reasons(plan, stages)]


def shape_reasons(plan: Plan) -> list[str]:
    """Why `plan` cannot work whatever its stages are."""
    if not plan.segments:
        return ["the plan has no segment"]
    reasons = []
    for number, segment in enumerate(plan.segments, 1):
        if not segment:
            reasons.append(f"segment {number} has no stage")
        elif not plan.new_stages(number - 1):
            reasons.append(f"segment {number} has no stage that an earlier segment has not")
        twice = [name for name, times in Counter(segment).items() if times > 1]
        reasons += [f"stage {name!r} stands twice in segment {number}" for name in twice]
    return reasons


def _unknown_reasons(plan: Plan, stages: Mapping[str, StageShape]) -> list[str]:
    there = ", ".join(sorted(stages)) or "none"
    return [f"there is no stage {name!r} (there are: {there})" for name in plan.stages if name not in stages]


def _lane_reasons(plan: Plan, stages: Mapping[str, StageShape]) -> list[str]:
    return [
        f"stage {name!r} has lane {stages[name].lane!r}; the lanes are {', '.join(LANES)}"
        for name in plan.stages
        if stages[name].lane not in LANES
    ]


def _repeat_reasons(plan: Plan, stages: Mapping[str, StageShape]) -> list[str]:
    times = Counter(name for segment in plan.segments for name in set(segment))
    return [
        f"stage {name!r} stands in several segments, but provides no local field that would be needed again"
        for name in plan.stages
        if times[name] > 1 and not stages[name].provides & LOCAL_FIELDS
    ]


def _field_reasons(plan: Plan, stages: Mapping[str, StageShape]) -> list[str]:
    reasons = []
    carried: frozenset[str] = GIVEN
    for segment in plan.segments:
        here = carried
        for name in segment:
            reasons += [_missing(name, field) for field in sorted(stages[name].requires - here)]
            here |= stages[name].provides
        carried = here - (LOCAL_FIELDS - GIVEN)
    return list(dict.fromkeys(reasons))


def _missing(name: str, field: str) -> str:
    if field in LOCAL_FIELDS:
        return f"stage {name!r} requires {field!r}, which no earlier stage of its segment provides (it is local)"
    return f"stage {name!r} requires {field!r}, which no earlier stage of the plan provides"


def shapes(stages: Sequence[StageShape]) -> dict[str, StageShape]:
    return {stage.name: stage for stage in stages}
