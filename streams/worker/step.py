"""One stage inside a segment: which frames it gets, the call in its lane, and what is noted afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

from processors.frame import LOCAL_FIELDS, Frame, Verdicts
from processors.stage import AnyStage, Stage, StatefulStage
from schemas.events import TraceEntry
from streams.worker.in_flight import Death, InFlightFrame
from streams.worker.instruments import Instruments
from streams.worker.lanes import Lanes, Turns
from streams.worker.route import Mode
from streams.worker.stage_policy import StagePolicy
from streams.worker.stage_state import StageState

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call of a stage gave, and when (monotonic) it began and ended."""

    verdicts: Verdicts
    states: dict[str, Any]
    began: float
    ended: float


class Step:
    """Binds a stage to its lane, its policy and, where it has memory, its states. `place`: its index in the segment."""

    def __init__(
        self,
        stage: AnyStage,
        place: int,
        lanes: Lanes,
        policy: StagePolicy,
        states: StageState | None,
        worker: str,
        instruments: Instruments,
    ) -> None:
        self.stage = stage
        self._place, self._lanes, self._policy, self._states = place, lanes, policy, states
        self._worker, self._clock, self._metrics = worker, instruments.clock, instruments.metrics
        self._turns = Turns() if states is not None else None
        self._rollback_fields = tuple(sorted((stage.provides - {"results"}) | {"skipped", "image"}))
        """What a failed call may have changed."""
        self._values = attrgetter(*self._rollback_fields)
        self._preserved_fields = tuple(name for name in self._rollback_fields if name not in LOCAL_FIELDS)
        """What a stage that is done must not change when it runs again."""

    async def open(self, device: str) -> None:
        """Load and warm up, in the lane's thread."""
        began = self._clock.monotonic()
        await self._lanes.run(self.stage.lane, self.stage.open, device)
        self._metrics.load_seconds.labels(self.stage.name).set(self._clock.monotonic() - began)

    async def close(self) -> None:
        await self._lanes.run(self.stage.lane, self.stage.close)

    async def run(self, number: int, frames: Sequence[InFlightFrame]) -> None:
        """Lead the batch past or through the stage. Raises StageBroken."""
        if self._turns is not None:
            await self._turns.enter(number)
        chosen = self._choose(frames)
        if chosen:
            verdicts = await self._policy.run(chosen, self._call)
            self._add_fields(chosen)
            for inflight, verdict in zip(chosen, verdicts, strict=True):
                if verdict is not None:
                    inflight.death = Death(self.stage.name, verdict.reason, verdict.message)
        self.leave(number)

    def leave(self, number: int) -> None:
        """Let the next batch in; also for a batch that ended before it came here."""
        if self._turns is not None:
            self._turns.leave(number)

    def _choose(self, frames: Sequence[InFlightFrame]) -> list[InFlightFrame]:
        """The frames that run here; the others get the reason why not."""
        name, requires, place = self.stage.name, self.stage.requires, self._place
        chosen = []
        for inflight in frames:
            if inflight.death is not None or (mode := inflight.route.modes[place]) is Mode.PASS:
                continue
            frame = inflight.frame
            if mode is Mode.RUN and frame.skipped and frame.skips(name) is not None:
                continue
            if requires <= inflight.fields:
                chosen.append(inflight)
            elif mode is Mode.RUN:
                frame.skip(name, f"requires:{min(requires - inflight.fields)}")
        return chosen

    async def _call(self, frames: Sequence[InFlightFrame]) -> Verdicts:
        """One call of the stage. When it raises, the frames are as before, and none keeps its crash mark meanwhile."""
        before, mark = [self._snapshot(inflight.frame) for inflight in frames], frames[0].mark
        try:
            if mark is not None:
                await mark.put()
            call = await self._lanes.run(self.stage.lane, self._process, frames)
        except BaseException as error:
            for inflight, values in zip(frames, before, strict=True):
                self._restore(inflight.frame, self._rollback_fields, values)
            if mark is not None and isinstance(error, Exception):
                await mark.lift()
            raise
        if self._states is not None:
            self._states.keep(call.states, frames)
        self._note(frames, before, call)
        return call.verdicts

    def _process(self, inflight_frames: Sequence[InFlightFrame]) -> _Call:
        """In the lane's thread. A wrong number of verdicts is an error of the stage like any other."""
        began = self._clock.monotonic()
        frames, states = [inflight.frame for inflight in inflight_frames], {}
        if self._states is not None:
            states = self._states.copies(inflight_frames)
            verdicts = cast("StatefulStage", self.stage).process(frames, states)
        else:
            verdicts = cast("Stage", self.stage).process(frames)
        if len(verdicts) != len(frames):
            raise ValueError(f"stage {self.stage.name} gave {len(verdicts)} verdicts for {len(frames)} frames")
        return _Call(verdicts, states, began, self._clock.monotonic())

    def _snapshot(self, frame: Frame) -> tuple[Any, ...]:
        return (*self._values(frame), frame.results.get(self.stage.name, _ABSENT))

    def _restore(self, frame: Frame, names: Sequence[str], before: tuple[Any, ...]) -> None:
        for name, value in zip(self._rollback_fields, before, strict=False):
            if name in names:
                setattr(frame, name, value)
        if before[-1] is _ABSENT:
            frame.results.pop(self.stage.name, None)
        else:
            frame.results[self.stage.name] = before[-1]

    def _note(self, frames: Sequence[InFlightFrame], before: Sequence[tuple[Any, ...]], call: _Call) -> None:
        """Write the trace; of a stage that ran again, keep only what is local."""
        seconds, size = call.ended - call.began, len(frames)
        entries: dict[float, TraceEntry] = {}
        for inflight, values, verdict in zip(frames, before, call.verdicts, strict=True):
            frame, ready_at = inflight.frame, inflight.ready_at
            inflight.ready_at = call.ended
            if inflight.route.modes[self._place] is Mode.AGAIN:
                self._restore(frame, self._preserved_fields, values)
            elif verdict is None:
                if ready_at not in entries:
                    entries[ready_at] = self._entry(call.began - ready_at, seconds, size)
                frame.trace = (*frame.trace, entries[ready_at])
        self._metrics.compute_seconds.labels(self.stage.name).observe(seconds)
        self._metrics.queue_seconds.labels(self.stage.name).observe(max(0.0, call.began - ready_at))
        self._metrics.batch_frames.labels(self.stage.name).observe(size)

    def _entry(self, queue_seconds: float, compute_seconds: float, size: int) -> TraceEntry:
        return TraceEntry(
            stage=self.stage.name,
            worker=self._worker,
            model=getattr(self.stage, "model", ""),
            revision=getattr(self.stage, "revision", ""),
            queue_seconds=round(max(0.0, queue_seconds), 6),
            compute_seconds=round(compute_seconds, 6),
            batch_size=size,
        )

    def _add_fields(self, frames: Sequence[InFlightFrame]) -> None:
        """Add what the stage provides to what the frames have; most frames share one set."""
        extended: dict[frozenset[str], frozenset[str]] = {}
        for inflight in frames:
            fields = inflight.fields
            if fields not in extended:
                extended[fields] = fields | self.stage.provides
            inflight.fields = extended[fields]
