"""Time stamps that only grow, from those of a video, which may restart, step back, jump ahead or be missing."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

ASSUMED_FPS = 25
LONGEST_GAP_SECONDS = 60.0
"""No video shows one frame for longer. A longer gap is a jump of the clock, and playing does not wait for it."""


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
        self._first = 0
        self._last: int | None = None
        self._played = 0

    @property
    def span_seconds(self) -> float:
        """From the first frame to the last one, jumps included."""
        return float(((self._last or 0) - self._first) * self._unit)

    def stamp(self, pts: int | None) -> Stamp:
        """The stamp of the next frame, whose own is `pts`; None for an elementary stream, which has none.

        Where all are missing the frame's number stands for them: it is as stable, as the file has a hash.
        """
        if self._last is None:
            self._first = self._last = pts or 0
            return Stamp(self._last, 0.0)
        number = self._last + 1 if pts is None else self._after(pts, self._last)
        gap = self._step if pts is None or self._is_jump(number - self._last) else number - self._last
        self._last, self._played = number, self._played + gap
        return Stamp(number, float(self._played * self._unit))

    def _after(self, pts: int, last: int) -> int:
        """A second recording in the same file, or a clock that was set back, begins one frame behind the last one."""
        if pts + self._moved <= last:
            self._moved = last + self._step - pts
        return pts + self._moved

    def _is_jump(self, gap: int) -> bool:
        return gap * self._unit > LONGEST_GAP_SECONDS
