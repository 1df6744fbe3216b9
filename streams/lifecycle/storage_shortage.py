"""Says that pictures or points exceed a limit and cannot go: which limit, why, and what to do; once per cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from streams.clock import Clock
from streams.lifecycle.picture_removal import Removed

log = structlog.get_logger()

TOLD_EVERY_SECONDS = 3600.0
REMEDIES = {
    "unfinished": "`sightline work` makes room as it finishes them",
    "new": "they may go ten minutes after they were put",
    "kept": "run `sightline keep FRAME --undo` for those that may go",
}
"""By why pictures stay."""


@dataclass(slots=True)
class Shortage:
    clock: Clock
    _limits: dict[str, int] = field(default_factory=dict)
    """What this pass could not free for each setting."""
    _staying: dict[str, int] = field(default_factory=dict)
    """Bytes by why they stay."""
    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When it was told of a setting and a cause."""

    def begin(self) -> None:
        """Of a pass."""
        self._limits.clear()
        self._staying.clear()

    def note(self, setting: str, missing: int, looked_at: Removed) -> None:
        """`missing` is in bytes, or points for the index; `looked_at` says why the rest stays."""
        self._limits[setting] = missing
        found = {"unfinished": looked_at.unfinished_bytes, "new": looked_at.new_bytes, "kept": looked_at.kept_bytes}
        for cause, size in found.items():
            if size:
                self._staying[cause] = max(size, self._staying.get(cause, 0))

    @property
    def passes(self) -> bool:
        """Whether more may go soon."""
        return bool(self._limits) and not self._staying.keys().isdisjoint({"unfinished", "new"})

    def report(self) -> None:
        """One warning for all limits of the pass, unless all of it was told within the last hour."""
        now, causes = self.clock.monotonic(), list(self._causes())
        if any(now >= self._told.get(cause, float("-inf")) + TOLD_EVERY_SECONDS for cause in causes):
            self._told |= dict.fromkeys(causes, now)
            log.warning(
                "storage_over_limit",
                over=self._limits.copy(),
                staying_bytes=self._staying.copy(),
                remedy="; ".join(self._remedies()),
            )

    def _causes(self) -> Iterator[tuple[str, str]]:
        for setting in self._limits:
            for cause in self._staying:
                yield setting, cause

    def _remedies(self) -> Iterator[str]:
        for cause in self._staying:
            yield f"{cause} pictures: {REMEDIES[cause]}"
        yield f"or raise {' and '.join(self._limits)}"
