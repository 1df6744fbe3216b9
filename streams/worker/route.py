"""Which stages of a segment run for a frame, given what its trace says is done.

Most frames of a batch have the same history, so routes are cached by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from processors.frame import LOCAL_FIELDS, Frame
from streams.plan import GIVEN, StageShape

CACHED_ROUTES = 1024
"""Histories are few; a producer that invents trace names must not fill the memory."""


class Mode(Enum):
    RUN = "run"
    AGAIN = "again"
    """Done elsewhere, but a remaining stage requires a local field of it: only local fields change."""
    PASS = "pass"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True)
class Route:
    """`modes` has one entry per stage of the segment; `fields` are those the frame has when it comes in."""

    modes: tuple[Mode, ...]
    fields: frozenset[str]
    needs_original: bool


class Router:
    """Routes for one segment. `plan_stages` are the stages of the whole plan, as far as they are known here."""

    def __init__(self, segment: Sequence[StageShape], plan_stages: Mapping[str, StageShape]) -> None:
        self._segment = tuple(segment)
        self._provides = {name: stage.provides for name, stage in plan_stages.items()}
        self._provides |= {stage.name: stage.provides for stage in segment}
        self._routes: dict[tuple[tuple[str, ...], tuple[str, ...]], Route] = {}

    def route(self, frame: Frame) -> Route:
        done = tuple([entry.stage for entry in frame.trace]) if frame.trace else ()
        history = (done, tuple([entry.stage for entry in frame.skipped]) if frame.skipped else ())
        if (known := self._routes.get(history)) is not None:
            return known
        route = self._make(frame, *history)
        if all(name in self._provides for name in done) and len(self._routes) < CACHED_ROUTES:
            self._routes[history] = route
        return route

    def _make(self, frame: Frame, done: tuple[str, ...], skipped: tuple[str, ...]) -> Route:
        modes = self._modes(frozenset(done), frozenset(skipped))
        runs = [stage for stage, mode in zip(self._segment, modes, strict=True) if mode is not Mode.PASS]
        return Route(modes, self._fields(frame, done), any("original" in stage.requires for stage in runs))

    def _modes(self, done: frozenset[str], skipped: frozenset[str]) -> tuple[Mode, ...]:
        """Backwards, because what a later stage requires decides whether an earlier one runs again."""
        wanted: frozenset[str] = frozenset()
        modes = []
        for stage in reversed(self._segment):
            mode = _mode(stage, done, skipped, wanted)
            if mode is not Mode.PASS:
                wanted |= stage.requires & LOCAL_FIELDS
            modes.append(mode)
        return tuple(reversed(modes))

    def _fields(self, frame: Frame, done: Sequence[str]) -> frozenset[str]:
        """What the stages done have provided; of a stage we do not know, what is filled in."""
        known = GIVEN.union(*(self._provides.get(name, frozenset()) - LOCAL_FIELDS for name in done))
        if all(name in self._provides for name in done):
            return known
        wanted = frozenset().union(*(stage.requires for stage in self._segment)) - LOCAL_FIELDS
        return known | {field for field in wanted if getattr(frame, field)}


def _mode(stage: StageShape, done: frozenset[str], skipped: frozenset[str], wanted: frozenset[str]) -> Mode:
    if stage.name in done:
        return Mode.AGAIN if stage.provides & wanted else Mode.PASS
    return Mode.PASS if stage.name in skipped else Mode.RUN
