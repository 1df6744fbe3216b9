"""What a stage is, and what it may declare to the runtime beside its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeAlias, runtime_checkable

from processors.frame import Frame, Verdicts

Lane: TypeAlias = str
"""`cpu`, a pool of threads, or `gpu`, one thread. It is plain text, so that a stage may say `lane = "cpu"`."""


class _Declarations(Protocol):
    """What both kinds of stage have: four class attributes, and the two ends of their life."""

    @property
    def name(self) -> str:
        """The name of the stage's file, in plans, traces and metrics."""

    @property
    def lane(self) -> Lane:
        """The executor in which the stage's methods run."""

    @property
    def requires(self) -> frozenset[str]:
        """Fields of `Frame` that every frame has when it reaches the stage."""

    @property
    def provides(self) -> frozenset[str]:
        """Fields of `Frame` that the stage assigns; the runtime clears them before a retry."""

    def open(self, device: str) -> None:
        """Load, check against the reference picture, warm up. Called once per worker, in the lane's thread, first.

        Raises `WrongWeights`, which stops the worker.
        """

    def close(self) -> None:
        """Release what `open` acquired. Called once per worker, in the lane's thread, last."""


@runtime_checkable
class Stage(_Declarations, Protocol):
    """A step of the pipeline, one file of `processors/stages/`; `docs/stages.md` shows how to write one.

    A stage class carries `Settings`, a frozen msgspec Struct with a default for every key that `[stages.NAME]` of the
    configuration may hold, and is built as `Stage(settings)`. Optional attributes, read after `open`: `model` and
    `revision`, for the trace. Optional class attributes: those of `StageTraits`.
    """

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        """Process a batch, synchronously; return one verdict per frame, in the order of `frames`.

        Called for every batch, in the lane's thread, and again for the same frames after an error. `frames` may mix
        feeds and is never longer than the configured batch. A stage assigns fields and never appends to them, so a
        repeated call gives the same result. Raises the errors of `processors.errors`.
        """
        ...


@runtime_checkable
class StatefulStage(_Declarations, Protocol):
    """A stage with a state per feed, such as a tracker."""

    def initial_state(self) -> Any:
        """The state of a feed without frames so far. It must be deep-copyable."""

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        """As `Stage.process`; `states` maps `tenant/feed` to a copy of the state, to be changed in place.

        The runtime keeps the copies if the batch succeeds. Each feed's frames are in order. A frame that is not newer
        than the state, after a redelivery, is processed like any other. Stills have no state.
        """
        ...


AnyStage = Stage | StatefulStage


@dataclass(frozen=True, slots=True)
class StageTraits:
    """Class attributes that a stage may have; each has a default that fits most stages."""

    skip_states: Mapping[str, str] = field(default_factory=dict)
    """Prefix of the reasons with which the stage skips later ones, and the state as which such frames are counted and
    shown: `{"gate:": "gated"}`."""
    observed: tuple[str, ...] = ()
    """Keys of `results[stage]` that `frames.observed` carries, by the same names."""
    full_size: bool = False
    """Whether the stage needs pixels at the original's size: decode must not shrink them."""
    shed_first: bool = False
    """Whether a live feed's frame that is too old skips this stage before others, because it costs much."""


def traits(stage: object) -> StageTraits:
    """What `stage`, an object or a class, declares."""
    declared = {trait.name: getattr(stage, trait.name) for trait in fields(StageTraits) if hasattr(stage, trait.name)}
    return StageTraits(**declared)
