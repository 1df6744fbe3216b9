"""A query's picture is read as an ingested one: whole, upright, and on a light ground."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from processors.headers import Unreadable
from search.uploads import decode_upload
from tests.support.odd_pictures import QUARTERS, corners, exif, heif, quarters, saved, stand_upright, stored


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIC"])
def test_a_query_picture_stands_upright(kind: str) -> None:
    pixels, written = stored(quarters(600, 400), 6), exif(orientation=6)
    picture = heif(pixels, tile=256, exif=written) if kind == "HEIC" else saved(pixels, kind, exif=written)
    assert stand_upright(decode_upload(picture))


def test_erased_colors_are_not_searched_for() -> None:
    pixels = np.dstack([quarters(), np.full((64, 96), 255, np.uint8)])
    pixels[:32, :48, 3] = 0
    assert corners(decode_upload(saved(pixels, "PNG"))) == [(255, 255, 255), *QUARTERS[1:]]


def test_many_queries_at_once_are_all_answered() -> None:
    picture = saved(quarters(3000, 2000), "PNG")
    with ThreadPoolExecutor(8) as pool:
        assert all(map(stand_upright, pool.map(decode_upload, [picture] * 24)))


def test_what_is_no_picture_is_refused_with_what_would_be() -> None:
    with pytest.raises(Unreadable, match="HEIC or AVIF"):
        decode_upload(b"no picture")
