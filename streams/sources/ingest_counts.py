"""Counts of one ingest, as its progress and as its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from streams.sources.source import Refusal

NAMED_REFUSALS = 100
"""Refusals that a summary lists; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts of an ingest that has ended."""

    accepted: int
    repeated: int
    """Pictures that an earlier ingest accepted."""
    refused: int
    shed: int
    """Frames that a live source dropped because Sightline was behind."""
    damaged: int
    """Frames that a live source dropped because they came damaged."""
    doubled: int
    """Pictures that this ingest was offered more than once."""
    reasons: dict[str, int]
    """Number of refusals by reason."""
    refusals: tuple[Refusal, ...]
    """The first `NAMED_REFUSALS` of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The counts of an ingest that runs. `total` may be an estimate.

    `waiting_for` says what is unavailable or full, and is empty while the ingest does not wait.
    """

    done: int
    total: int | None
    accepted: int
    repeated: int
    refused: int
    waiting_for: str = ""


Report = Callable[[Progress], None]


@dataclass(slots=True)
class IngestCounts:
    """`report` is called with the progress after each batch and at the start of each wait."""

    report: Report
    total: int | None
    accepted: int = 0
    repeated: int = 0
    refused: int = 0
    shed: int = 0
    damaged: int = 0
    doubled: int = 0
    _reasons: Counter[str] = field(default_factory=Counter, init=False)
    _refusals: list[Refusal] = field(default_factory=list, init=False)

    def refuse(self, refusal: Refusal) -> None:
        self.refused += 1
        self._reasons[refusal.reason] += 1
        if len(self._refusals) < NAMED_REFUSALS:
            self._refusals.append(refusal)

    def report_progress(self, waiting_for: str = "") -> None:
        self.report(
            Progress(
                done=self.accepted + self.repeated + self.doubled + self.refused,
                total=self.total,
                accepted=self.accepted,
                repeated=self.repeated,
                refused=self.refused,
                waiting_for=waiting_for,
            )
        )

    def summary(self) -> Summary:
        return Summary(
            accepted=self.accepted,
            repeated=self.repeated,
            refused=self.refused,
            shed=self.shed,
            damaged=self.damaged,
            doubled=self.doubled,
            reasons=dict(self._reasons),
            refusals=tuple(self._refusals),
        )
