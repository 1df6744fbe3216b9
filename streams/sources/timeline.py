"""Distinct time stamps that play on, from those of a video, which may restart, step back, jump ahead or be missing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

ASSUMED_FPS = 25
LONGEST_GAP_SECONDS = 60.0
"""No video shows one frame for longer. A longer gap is a jump of the clock, and playing does not wait for it."""

MOST_REORDERED, LONGEST_DISORDER = 16, 4
"""Frames that a codec may show later than it sends them, and how many of these follow each other."""
RECENT_FRAMES = 512
"""Among which a stamp that went back must be new; frames may come faster than the rate that the file states."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A frame's time stamp: in units of the file, and in seconds of playing since the first frame.

    `pts` is the file's own, moved behind the frames before it where the file's go back.
    """

    pts: int
    seconds: float


class Timeline:
    """Stamps the frames of one reading, in order of display. The same frames always get the same stamps."""

    def __init__(self, time_base: Fraction | None, rate: Fraction | None) -> None:
        step = 1 / (rate or Fraction(ASSUMED_FPS))
        self._unit = time_base or step
        self._step = max(1, round(step / self._unit))  # from frame to frame, where the stamps do not tell
        self._moved = 0
        self._recent: deque[int] = deque(maxlen=RECENT_FRAMES)
        self._behind = 0
        self._first = self._last = 0
        self._played = 0

    @property
    def span_seconds(self) -> float:
        """From the first frame to the last one, jumps included."""
        return float((self._last - self._first) * self._unit)

    def stamp(self, pts: int | None) -> Stamp:
        """The stamp of the next frame, whose own is `pts`; None for an elementary stream, which has none.

        Where all are missing the frame's number stands for them: it is as stable, as the file has a hash.
        """
        number = self._number(pts)
        self._recent.append(number)
        return Stamp(number, float(self._played * self._unit))

    def _number(self, pts: int | None) -> int:
        if not self._recent:
            self._first = self._last = pts or 0
            return self._last
        if pts is None:
            return self._advanced(self._last + 1, self._step)
        number = pts + self._moved
        if number <= self._last and self._is_out_of_order(number):
            self._behind += 1
            return number
        if number <= self._last:  # another recording in the same file, or a clock that was set back
            self._moved += self._last + self._step - number
            number = self._last + self._step
        return self._advanced(number, number - self._last)

    def _is_out_of_order(self, number: int) -> bool:
        """Some files have their decoder's order for the order of display: such stamps are behind, but new ones."""
        is_near = number > self._last - MOST_REORDERED * self._step
        return is_near and self._behind < LONGEST_DISORDER and number not in self._recent

    def _advanced(self, number: int, gap: int) -> int:
        self._played += self._step if self._is_jump(gap) else gap
        self._last, self._behind = number, 0
        return number

    def _is_jump(self, gap: int) -> bool:
        return gap * self._unit > LONGEST_GAP_SECONDS
