"""Bounds the pixels that are being decoded at a time: a decoder's memory follows them, not the encoded bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class PixelBudget:
    """Pictures wait for room in the order they came. One larger than the whole budget is decoded alone."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._held = 0
        self._first, self._next = 0, 0
        """Tickets: whose turn it is, and the next one that is given."""
        self._changed = Condition()

    @property
    def waiting(self) -> int:
        """How many pictures wait."""
        return self._next - self._first

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` more may be decoded; they count until the end of the block."""
        with self._changed:
            ticket, self._next = self._next, self._next + 1
            self._changed.wait_for(lambda: ticket == self._first and self._has_room(pixels))
            self._first += 1
            self._held += pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()

    def _has_room(self, pixels: int) -> bool:
        return not self._held or self._held + pixels <= self._pixels
