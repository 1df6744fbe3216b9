"""Still pictures of every format: whole, upright, on a light ground, or refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from processors.headers import Unreadable, read_header
from processors.still import Still, decode_still, decoding_pixels
from tests.support.odd_pictures import (
    BLUE,
    GREEN,
    QUARTERS,
    chunk,
    corners,
    exif,
    heif,
    png,
    quarters,
    saved,
    stand_upright,
    stored,
)
from tests.support.pictures import scene

WHITE = (255, 255, 255)
EXACT = {"chroma": 444, "matrix_coefficients": 1, "full_range_flag": 1}


def decode(picture: bytes, max_side: int = 0) -> Still:
    return decode_still(picture, read_header(picture), max_side)


def refused(picture: bytes) -> str:
    with pytest.raises(Unreadable) as error:
        decode(picture)
    return error.value.reason


# How a picture stands


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("max_side", [0, 24])
def test_every_orientation_stands_upright(kind: str, orientation: int, max_side: int) -> None:
    pixels, written = stored(quarters(), orientation), exif(orientation=orientation)
    picture = heif(pixels, exif=written) if kind == "HEIC" else saved(pixels, kind, exif=written, quality=95)
    still = decode(picture, max_side)
    assert (still.width, still.height) == (96, 64)
    assert still.pixels.shape == ((64, 96, 3) if not max_side else (16, 24, 3))
    assert stand_upright(still.pixels)


@pytest.mark.parametrize(("turns", "orientation"), [(b"irot\x01", 8), (b"irot\x03", 6), (b"imir\x01", 2)])
def test_an_items_own_orientation_overrules_exif(turns: bytes, orientation: int) -> None:
    """Phones write both, meaning one turn."""
    picture = saved(stored(quarters(), orientation), "AVIF", exif=exif(orientation=orientation), quality=95)
    assert turns in picture
    header = read_header(picture.replace(b"\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]), bytes(10)))
    assert header.orientation == orientation
    assert stand_upright(decode(picture).pixels)


def test_a_heif_without_an_orientation_of_its_own_follows_exif() -> None:
    """As converters leave it that copy EXIF and the pixels."""
    picture = heif(stored(quarters(), 6), exif=exif(orientation=6))
    plain = picture.replace(b"irot", b"free")
    assert plain != picture
    assert stand_upright(decode(plain).pixels)


@pytest.mark.parametrize("brand", [b"mif1", b"heic", b"heix", b"msf1"])
def test_a_heif_is_known_by_any_of_its_brands(brand: bytes) -> None:
    picture = heif(quarters())
    still = decode(picture[:8] + brand + picture[12:])
    assert stand_upright(still.pixels)


def test_a_grid_of_tiles_is_the_whole_picture() -> None:
    """A phone's HEIC: the first tile alone would be red."""
    picture = heif(quarters(1300, 900), tile=512)
    assert b"grid" in picture
    header, still = read_header(picture), decode(picture)
    assert (header.format, header.width, header.height) == ("heic", 1300, 900)
    assert still.pixels.shape == (900, 1300, 3)
    assert stand_upright(still.pixels)
    assert decode(picture, max_side=300).pixels.shape == (225, 325, 3)


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "HEIC"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_picture_cut_short_is_refused(kind: str, share: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (600, 800, 3), np.uint8)
    whole = heif(pixels, tile=256) if kind == "HEIC" else saved(pixels, kind)
    assert refused(whole[: int(len(whole) * share)]) == "unreadable_image"


def test_a_nearly_square_picture_is_reduced_like_any_other() -> None:
    for orientation in (1, 6):
        picture = saved(stored(quarters(803, 800), orientation), "JPEG", exif=exif(orientation=orientation))
        still = decode(picture, max_side=100)
        assert (still.width, still.height, still.pixels.shape) == (803, 800, (100, 101, 3))
        assert stand_upright(still.pixels)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [("JPEG", {}, 100 * 100), ("JPEG", {"progressive": True}, 800 * 800), ("PNG", {}, 800 * 800)],
)
def test_what_a_picture_costs_while_it_is_decoded(kind: str, options: dict[str, Any], expected: int) -> None:
    """A progressive JPEG is kept whole until its last scan, whatever it is reduced to."""
    header = read_header(saved(quarters(800, 800), kind, **options))
    assert decoding_pixels(header, max_side=100) == expected
    assert decoding_pixels(header, max_side=0) == 800 * 800


# Colors


def test_hdr_and_wide_gamut_are_shown_in_srgb() -> None:
    """A gray page in PQ: 203 cd/m² are white, and 58 % of the code values. Red of P3 is beyond sRGB's."""
    page = np.full((64, 96, 3), round(0.5806 * 255), np.uint8)
    shown = decode(heif(page, color_primaries=9, transfer_characteristics=16, **EXACT)).pixels[30, 30]
    assert 225 < shown.min() <= shown.max() <= 255
    assert shown.max() - shown.min() <= 4
    red = np.full((64, 96, 3), (200, 60, 60), np.uint8)
    plain, wide = (
        decode(heif(red, color_primaries=primaries, transfer_characteristics=13, **EXACT)).pixels[30, 30].astype(int)
        for primaries in (1, 12)
    )
    assert plain.tolist() == pytest.approx([200, 60, 60], abs=4)
    assert wide[0] > plain[0] + 8
    assert wide[1] < plain[1] - 8


# Transparent pixels


def drawing(color: int, ground: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.uint8]:
    """RGBA [120, 160, 4]: a rectangle of one gray, opaque, on transparent pixels that hold a color."""
    pixels = np.zeros((120, 160, 4), np.uint8)
    pixels[..., :3] = ground
    pixels[30:90, 40:120] = (color, color, color, 255)
    return pixels


LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_black_on_transparent_is_black_on_light(kind: str) -> None:
    pixels = decode(saved(drawing(0), kind, **LOSSLESS[kind])).pixels
    assert pixels[10, 10].tolist() == pytest.approx(list(WHITE), abs=3)
    assert pixels[60, 80].tolist() == pytest.approx([0, 0, 0], abs=3)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_white_on_transparent_stays_visible(kind: str) -> None:
    pixels = decode(saved(drawing(255), kind, **LOSSLESS[kind])).pixels
    assert pixels[60, 80].min() - pixels[10, 10].astype(int).max() > 100


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("max_side", [0, 40])
def test_erased_colors_do_not_come_back(kind: str, max_side: int) -> None:
    pixels = decode(saved(drawing(90, BLUE), kind, **LOSSLESS[kind]), max_side).pixels
    assert pixels[2, 2].tolist() == pytest.approx(list(WHITE), abs=3)
    assert pixels[..., 2].astype(int).max() - pixels[..., 0].astype(int).min() < 175


def test_half_transparent_pixels_are_mixed_with_the_ground() -> None:
    pixels = drawing(0)
    pixels[30:90, 40:120, 3] = 128
    assert decode(saved(pixels, "PNG")).pixels[60, 80].tolist() == pytest.approx([127] * 3, abs=1)


def palette(kind: str) -> bytes:
    """Four colors, of which the first is transparent."""
    image = Image.fromarray(quarters()).quantize(4)
    transparent = image.getpixel((10, 10))
    with io.BytesIO() as file:
        image.save(file, kind, transparency=transparent)
        return file.getvalue()


def key(pixels: NDArray[Any], color: int, bits: int, *values: int) -> bytes:
    """A PNG in which one color stands for transparent."""
    return png(pixels, color, bits, between=chunk(b"tRNS", b"".join(value.to_bytes(2, "big") for value in values)))


WIDE = quarters().astype(np.uint16) * 257


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(lambda: palette("PNG"), id="palette of a PNG"),
        pytest.param(lambda: palette("GIF"), id="palette of a GIF"),
        pytest.param(lambda: key(quarters(), 2, 8, 220, 30, 30), id="one color"),
        pytest.param(lambda: key(WIDE, 2, 16, 220 * 257, 30 * 257, 30 * 257), id="one color of 16 bits"),
        pytest.param(lambda: png(np.dstack([WIDE, _red_erased(65_535)]), 6, 16), id="16 bits"),
        pytest.param(lambda: png(np.dstack([quarters(), _red_erased(255)]), 6, 8), id="8 bits"),
    ],
)
def test_every_kind_of_transparency(picture: Any) -> None:
    """The red quarter is transparent."""
    shown = corners(decode(picture()).pixels)
    assert shown == [pytest.approx(color, abs=3) for color in (WHITE, *QUARTERS[1:])]


def _red_erased(opaque: int) -> NDArray[np.uint16]:
    alpha = np.full((64, 96), opaque, np.uint16)
    alpha[:32, :48] = 0
    return alpha


@pytest.mark.parametrize(("bits", "color"), [(8, 4), (16, 4)])
def test_gray_with_transparency(bits: int, color: int) -> None:
    pixels = np.zeros((120, 160, 2), np.uint16)
    pixels[30:90, 40:120] = (0, (1 << bits) - 1)
    shown = decode(png(pixels, color, bits)).pixels
    assert (shown[10, 10].tolist(), shown[60, 80].tolist()) == (list(WHITE), [0, 0, 0])


def test_the_first_frame_of_an_animation_is_the_picture() -> None:
    frames = [Image.fromarray(np.full((64, 96, 3), color, np.uint8)) for color in (GREEN, BLUE)]
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        with io.BytesIO() as file:
            Image.fromarray(quarters()).save(file, kind, save_all=True, append_images=frames, duration=100)
            assert stand_upright(decode(file.getvalue()).pixels, within=40), kind


# JPEGs cut short


def jpeg(**options: Any) -> bytes:
    return saved(scene(3, 400, 300), "JPEG", quality=90, **options)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("max_side", [0, 100])
def test_a_jpeg_that_lacks_its_end_marker_is_whole(options: dict[str, Any], lost: int, max_side: int) -> None:
    whole = jpeg(**options)
    assert whole.endswith(b"\xff\xd9")
    assert np.array_equal(decode(whole[:-lost], max_side).pixels, decode(whole, max_side).pixels)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"mode": "L"}])
def test_a_jpeg_that_lacks_pixels_is_refused(options: dict[str, Any]) -> None:
    whole = jpeg(**options)
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        cut = whole[: int(len(whole) * share)]
        assert refused(cut) == "unreadable_image"
        assert refused(cut + bytes(4096)) == "unreadable_image"


def test_a_progressive_jpeg_that_ends_between_two_scans_is_refused() -> None:
    """libjpeg shows what is there and does not complain."""
    whole = jpeg(progressive=True)
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for end in scans[1:]:
        tables = whole.rfind(b"\xff\xc4", scans[0], end)
        start = tables if tables > 0 and whole[tables + 2 : end].find(b"\xff\xda") < 0 else end
        assert refused(whole[:start]) == "unreadable_image"


def test_the_small_preview_inside_a_jpeg_does_not_count_as_its_end() -> None:
    preview = saved(scene(1, 40, 30), "JPEG")
    whole = jpeg()
    with_preview = whole[:2] + b"\xff\xe2" + (len(preview) + 2).to_bytes(2, "big") + preview + whole[2:]
    assert np.array_equal(decode(with_preview[:-2]).pixels, decode(whole).pixels)


def test_a_picture_in_inks_is_read_by_the_same_rules() -> None:
    inks = saved(stored(quarters(), 6), "JPEG", mode="CMYK", exif=exif(orientation=6), quality=95)
    assert stand_upright(decode(inks).pixels, within=40)
    assert np.array_equal(decode(inks[:-2]).pixels, decode(inks).pixels)
    assert refused(inks[: int(len(inks) * 0.8)]) == "unreadable_image"
