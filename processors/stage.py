"""What a stage is, and what it may declare to the runtime beside its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from processors.frame import Frame, Verdicts

Lane = Literal["cpu", "gpu"]


@runtime_checkable
class Stage(Protocol):
    """A step of the pipeline, one file of `processors/stages/`; `docs/architecture.md` tells its life.

    `requires` and `provides` name fields of `Frame`. A stage class carries `Settings`, a frozen msgspec Struct
    with a default for every key that `[stages.NAME]` of the configuration may hold, and is built as
    `Stage(settings)`. Optional attributes, read after `open`: `model` and `revision` (for the trace).
    """

    name: ClassVar[str]
    lane: ClassVar[Lane]
    requires: ClassVar[frozenset[str]]
    provides: ClassVar[frozenset[str]]

    def open(self, device: str) -> None:
        """Load, check against the reference, warm up; once per worker, in the lane's thread."""

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        """One verdict per frame, in order; synchronous, always a batch, never more than the runtime was told."""
        ...

    def close(self) -> None:
        """Give back what `open` took."""


@runtime_checkable
class StatefulStage(Protocol):
    """A stage that remembers per feed. `states` maps `tenant/feed` to a copy the runtime keeps on success."""

    name: ClassVar[str]
    lane: ClassVar[Lane]
    requires: ClassVar[frozenset[str]]
    provides: ClassVar[frozenset[str]]

    def open(self, device: str) -> None: ...

    def initial_state(self) -> Any:
        """The state of a feed not seen before; it must be deep-copyable."""

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        """As `Stage.process`; each feed's frames are in order, a frame not newer than the state is processed."""
        ...

    def close(self) -> None: ...


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
    """Whether a live feed's frame that is too old leaves out this stage before others, because it costs much."""


def traits(stage: object) -> StageTraits:
    """What `stage`, an object or a class, declares."""
    declared = {trait.name: getattr(stage, trait.name) for trait in fields(StageTraits) if hasattr(stage, trait.name)}
    return StageTraits(**declared)
