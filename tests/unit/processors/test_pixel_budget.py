"""Memory while decoding: bounded by pixels, in order, and never stuck."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, Thread

import pytest

from processors.pixel_budget import PixelBudget
from processors.stages.decode import Decode, DecodeSettings
from tests.support.odd_pictures import quarters, saved
from tests.support.pictures import frame

DEADLINE_SECONDS = 20.0


class Decoding:
    """Threads that take pixels of one budget; `most` is what they held together."""

    def __init__(self, budget: PixelBudget) -> None:
        self.budget, self._lock = budget, Lock()
        self._held = self.most = 0

    def decode(self, pixels: int) -> None:
        with self.budget.taken(pixels):
            with self._lock:
                self._held += pixels
                self.most = max(self.most, self._held)
            with self._lock:
                self._held -= pixels


def test_together_they_hold_no_more_than_the_budget() -> None:
    decoding = Decoding(PixelBudget(10))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decoding.decode, [1, 4, 9, 2, 6, 3, 10, 5] * 60))
    assert 0 < decoding.most <= 10


def test_what_fits_beside_each_other_runs_beside_each_other() -> None:
    budget, together = PixelBudget(10), Barrier(2)

    def decode() -> None:
        with budget.taken(5):
            together.wait(DEADLINE_SECONDS)

    with ThreadPoolExecutor(2) as pool:
        for call in [pool.submit(decode) for _ in range(2)]:
            call.result(DEADLINE_SECONDS)


def test_a_picture_beyond_the_budget_is_decoded_alone_and_small_ones_do_not_overtake_it() -> None:
    budget, order = PixelBudget(10), list[int]()

    def decode(pixels: int) -> None:
        with budget.taken(pixels):
            order.append(pixels)

    with budget.taken(1):
        waiting = Thread(target=decode, args=(25,))
        waiting.start()
        while budget.waiting < 1:
            pass
        behind = Thread(target=decode, args=(1,))
        behind.start()
        while budget.waiting < 2:
            pass
    waiting.join(DEADLINE_SECONDS)
    behind.join(DEADLINE_SECONDS)
    assert order == [25, 1]


def test_a_picture_that_fails_gives_its_pixels_back() -> None:
    budget = PixelBudget(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="damaged"), budget.taken(10):
            raise ValueError("damaged")


def test_the_stage_decodes_more_than_its_budget_one_after_the_other() -> None:
    stage = Decode(DecodeSettings(threads=4, decoding_pixels=1))
    stage.open("cpu")
    frames = [frame(saved(quarters(), "PNG"), number=number) for number in range(6)]
    assert stage.process(frames) == [None] * 6
    assert all(each.pixels is not None for each in frames)
    stage.close()
