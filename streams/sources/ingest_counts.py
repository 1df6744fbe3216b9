"""Counts of one ingest, as its progress and as its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from streams.sources.source import Refusal

log = structlog.get_logger()
NAMED_REFUSALS = 100
"""Refusals that a summary lists; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts of an ingest that has ended."""

    accepted: int
    repeated: int
    """Pictures that an earlier ingest accepted."""
    refused: int
    """Files and folders that are no pictures or cannot be read."""
    shed: int
    """Frames that a live source dropped because Sightline was behind."""
    damaged: int
    """Frames that a live source dropped because they came damaged."""
    doubled: int
    """Pictures that this ingest was offered more than once."""
    forgotten: int
    """Pictures that an earlier ingest accepted and a person had erased since; they stay erased."""
    left_out: int
    """Files that are hidden or excluded."""
    restored: int
    """Lost originals of frames accepted earlier, which were written again."""
    from_future: int
    """Accepted pictures that say they were captured later than now."""
    taken: int
    """Of `repeated`, pictures that are older than what retention keeps."""
    repeated_as: dict[str, int]
    """Number of `repeated` by the other feed under which they were accepted."""
    notes: tuple[str, ...]
    """What else a person should know."""
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
class WaitLog:
    """Reports only waits, to the log: the begin of each, and its end."""

    feed: str
    _waiting: bool = field(default=False, init=False)

    def __call__(self, progress: Progress) -> None:
        if progress.waiting_for and not self._waiting:
            log.warning("ingest_waits", feed=self.feed, waiting_for=progress.waiting_for)
        elif self._waiting and not progress.waiting_for:
            log.info("ingest_goes_on", feed=self.feed)
        self._waiting = bool(progress.waiting_for)


@dataclass(slots=True)
class IngestCounts:
    """`report` is called with the progress after each batch and at the start of each wait."""

    report: Report
    total: int | None
    accepted: int = 0
    repeated: int = 0
    taken: int = 0
    refused: int = 0
    shed: int = 0
    damaged: int = 0
    doubled: int = 0
    forgotten: int = 0
    left_out: int = 0
    restored: int = 0
    from_future: int = 0
    notes: list[str] = field(default_factory=list)
    feed: str = ""
    refused_to: Callable[[Refusal], None] | None = None
    """Gets every refusal."""
    _repeated_as: Counter[str] = field(default_factory=Counter, init=False)
    _reasons: Counter[str] = field(default_factory=Counter, init=False)
    _refusals: list[Refusal] = field(default_factory=list, init=False)

    def refuse(self, refusal: Refusal) -> None:
        self.refused += 1
        self._reasons[refusal.reason] += 1
        if len(self._refusals) < NAMED_REFUSALS:
            self._refusals.append(refusal)
        if self.refused_to is not None:
            self.refused_to(refusal)

    def repeat(self, feed: str, *, taken: bool) -> None:
        """Count a picture that was accepted before under `feed`, and may have been taken by retention since."""
        self.repeated += 1
        self.taken += taken
        if feed != self.feed:
            self._repeated_as[feed] += 1

    def report_progress(self, waiting_for: str = "") -> None:
        self.report(
            Progress(
                done=self.accepted + self.repeated + self.doubled + self.forgotten + self.refused + self.restored,
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
            taken=self.taken,
            refused=self.refused,
            shed=self.shed,
            damaged=self.damaged,
            doubled=self.doubled,
            forgotten=self.forgotten,
            left_out=self.left_out,
            restored=self.restored,
            from_future=self.from_future,
            repeated_as=dict(self._repeated_as),
            notes=tuple(self.notes),
            reasons=dict(self._reasons),
            refusals=tuple(self._refusals),
        )
