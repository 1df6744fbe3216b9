"""By how much something grew at most from one look to the next, remembered for a day: the next night needs it again."""

from __future__ import annotations

from collections.abc import Mapping

REMEMBERED_SECONDS = 90_000.0
"""25 hours at least, and twice as long at most: what comes every night is remembered until it comes again."""


class LargestSteps:
    """Of several quantities, by name; `now` is in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._latest: dict[str, int] = {}
        self._earlier: dict[str, int] = {}

    def note(self, steps: Mapping[str, int], now: float) -> None:
        if now >= self._began + REMEMBERED_SECONDS:
            lapsed = now >= self._began + 2 * REMEMBERED_SECONDS
            self._earlier, self._latest, self._began = {} if lapsed else self._latest, {}, now
        for name, step in steps.items():
            if step > self._latest.get(name, 0):
                self._latest[name] = step

    def of(self, name: str) -> int:
        """0 where nothing grew."""
        return max(self._latest.get(name, 0), self._earlier.get(name, 0))
