"""One table for EXIF, HEIF and video: what each of the eight orientations does to a picture."""

from __future__ import annotations

import numpy as np
import pytest

from processors.orientation import MATRICES, combine, orient, orientation_of_matrix
from tests.support.odd_pictures import quarters, stored

FIXED_POINT = 1 << 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_shows_what_a_camera_stored(orientation: int) -> None:
    kept = stored(quarters(7, 5), orientation)
    assert np.array_equal(orient(kept, orientation), quarters(7, 5))
    assert np.array_equal(orient(kept[..., 0], orientation), quarters(7, 5)[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_where_its_matrix_puts_each_pixel(orientation: int) -> None:
    a, b, c, d = MATRICES[orientation]
    kept = np.arange(15, dtype=np.uint8).reshape(3, 5)
    places = {(int(a * x + c * y), int(b * x + d * y)): kept[y, x] for y in range(3) for x in range(5)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shown = orient(kept, orientation)
    assert all(shown[y - top, x - left] == value for (x, y), value in places.items())
    matrix = [a * FIXED_POINT, b * FIXED_POINT, 0, c * FIXED_POINT, d * FIXED_POINT, 0, 0, 0, 1 << 30]
    assert orientation_of_matrix(matrix) == orientation


@pytest.mark.parametrize("first", range(1, 9))
@pytest.mark.parametrize("second", range(1, 9))
def test_two_orientations_one_after_the_other_are_one(first: int, second: int) -> None:
    kept = np.arange(15, dtype=np.uint8).reshape(3, 5)
    assert np.array_equal(orient(kept, combine(first, second)), orient(orient(kept, first), second))


@pytest.mark.parametrize("nonsense", [0, 9, -1, 70_000])
def test_a_number_that_is_no_orientation_changes_nothing(nonsense: int) -> None:
    assert np.array_equal(orient(quarters(), nonsense), quarters())
