"""The contract of every stage with the runtime; a stage's test is a subclass that builds it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from processors.frame import LOCAL_FIELDS, Frame, Verdicts, freeze
from processors.stage import AnyStage, Stage, StatefulStage


class StageSuite:
    """Subclasses give `make`, `frames` and, where a frame can be refused, `refused`."""

    also: ClassVar[frozenset[str]] = frozenset()
    """Fields that the stage changes beside those it `provides`."""

    @classmethod
    def make(cls) -> AnyStage:
        """The stage, not yet open."""
        raise NotImplementedError

    def frames(self) -> list[Frame]:
        """At least three frames that the stage accepts, with all it requires; new objects at every call."""
        raise NotImplementedError

    def refused(self) -> list[Frame]:
        """Frames that the stage must refuse, none where it refuses nothing."""
        return []

    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls) -> Iterator[AnyStage]:
        stage = cls.make()
        stage.open("cpu")
        yield stage
        stage.close()

    def test_declares_lane_fields_and_kind(self, stage: AnyStage) -> None:
        assert stage.lane in ("cpu", "gpu")
        named = {field for field in stage.requires | stage.provides if not hasattr(self.frames()[0], field)}
        assert not named, f"no fields of a frame: {named}"
        assert "results" not in stage.provides  # each stage owns `results[name]`, none the whole
        assert isinstance(stage, StatefulStage if hasattr(stage, "initial_state") else Stage)

    def test_settings_have_defaults_and_refuse_unknown_keys(self, stage: AnyStage) -> None:
        kind = type(stage).Settings  # type: ignore[union-attr]
        assert msgspec.convert({}, kind) == kind()
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"no_such_key": 1}, kind)

    def test_an_empty_batch_has_no_verdicts(self, stage: AnyStage) -> None:
        assert list(run(stage, [])) == []

    def test_one_verdict_per_frame_and_only_the_bad_refused(self, stage: AnyStage) -> None:
        good, bad = self.frames(), self.refused()
        batch = [frame for pair in zip(good, bad, strict=False) for frame in pair] + good[len(bad) :]
        verdicts = run(stage, batch)
        assert len(verdicts) == len(batch)
        names = {id(frame) for frame in bad}
        for frame, verdict in zip(batch, verdicts, strict=True):
            assert (verdict is not None) == (id(frame) in names), verdict
            if verdict is not None:
                assert verdict.reason.replace("_", "").isalnum()
                assert verdict.reason == verdict.reason.lower()
                assert verdict.message

    def test_neighbours_in_the_batch_change_nothing(self, stage: AnyStage) -> None:
        together, alone = self.frames(), self.frames()
        run(stage, together)
        states = states_of(stage, alone)
        for frame in alone:
            run(stage, [frame], states)
        assert_alike(together, alone)

    def test_a_repeated_call_gives_the_same(self, stage: AnyStage) -> None:
        once, twice = self.frames(), self.frames()
        states = states_of(stage, once)
        run(stage, once, copy.deepcopy(states))
        run(stage, twice, copy.deepcopy(states))
        run(stage, twice, copy.deepcopy(states))
        assert_alike(once, twice)

    def test_changes_the_fields_it_provides_and_no_others(self, stage: AnyStage) -> None:
        before, after = self.frames(), self.frames()
        run(stage, after)
        allowed = stage.provides | self.also | {"results", "skipped"}
        for old, new in zip(before, after, strict=True):
            assert {name for name in slots() if differ(getattr(old, name), getattr(new, name))} <= allowed
            assert set(new.results) - set(old.results) <= {stage.name}
        touched = {name for old, new in zip(before, after, strict=True) for name in stage.provides if shown(new, name)}
        assert touched == stage.provides


def run(stage: AnyStage, frames: Sequence[Frame], states: dict[str, Any] | None = None) -> Verdicts:
    if isinstance(stage, StatefulStage) and hasattr(stage, "initial_state"):
        return stage.process(frames, states if states is not None else states_of(stage, frames))
    assert isinstance(stage, Stage)
    return stage.process(frames)


def states_of(stage: AnyStage, frames: Sequence[Frame]) -> dict[str, Any]:
    if not isinstance(stage, StatefulStage):
        return {}
    return {key: stage.initial_state() for key in sorted({frame.key for frame in frames})}


def slots() -> tuple[str, ...]:
    return Frame.__struct_fields__


def shown(frame: Frame, name: str) -> bool:
    value = getattr(frame, name)
    return value is not None and (isinstance(value, np.ndarray) or bool(value))


def differ(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return not (isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and np.array_equal(first, second))
    return bool(first != second)


def assert_alike(frames: Sequence[Frame], others: Sequence[Frame]) -> None:
    """Equal in every field of the event and every local one; floats and vectors within 1e-4."""
    for frame, other in zip(frames, others, strict=True):
        assert plain(frame) == plain(other)
        for name in LOCAL_FIELDS:
            assert not differ(getattr(frame, name), getattr(other, name)), name


def plain(frame: Frame) -> Any:
    event = msgspec.to_builtins(msgspec.structs.replace(freeze(frame), embeddings=()), builtin_types=(bytes,))
    vectors = {entry.name: np.frombuffer(entry.vector, "<f4").tolist() for entry in frame.embeddings}
    return rounded([event, vectors])


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-4, rel=1e-4)
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
