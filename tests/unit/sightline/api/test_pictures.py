"""Which bytes of a picture a browser gets."""

from __future__ import annotations

import numpy as np
import pytest

from processors.headers import read_header
from processors.still import decode_still
from sightline.api.pictures import displayable
from tests.support.odd_pictures import exif, heif, quarters, saved, stand_upright, stored

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SAFARI = "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,*/*;q=0.5"


def test_heic_is_shown_as_an_upright_jpeg_where_it_cannot_be_shown() -> None:
    original = heif(stored(quarters(), 6), exif=exif(orientation=6))
    shown = displayable(original, CHROME)
    header = read_header(shown)
    assert header.format == "jpeg"
    assert stand_upright(decode_still(shown, header).pixels)
    assert displayable(original, SAFARI) is original


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_every_other_original_is_shown_as_it_is(kind: str) -> None:
    original = saved(np.zeros((8, 8, 3), np.uint8), kind)
    assert displayable(original, CHROME) is original
