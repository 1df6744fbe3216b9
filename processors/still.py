"""Still pictures of every format to upright RGB pixels: which decoder reads which, and at what scale.

JPEG goes through libjpeg-turbo, which decodes at a half, a quarter or an eighth; PNG and WebP through OpenCV; GIF and
AVIF through Pillow; HEIC through libheif. Of an animation the first frame is the picture. Every decoder releases the
interpreter lock.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from processors.headers import Header, Unreadable
from processors.jpeg import decode_jpeg, is_complete, with_end
from processors.opencv import cv2
from processors.orientation import orient
from processors.shrink import shrink
from processors.tone_map import Gamut, Transfer, to_sdr
from processors.transparency import on_ground

Image = NDArray[np.uint8]
PillowImage.MAX_IMAGE_PIXELS = None  # our own limit is checked before; Pillow's would be a warning at 89 megapixels
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""OpenCV's flag for each reduction; combined with `IMREAD_COLOR_RGB` the result is in color all the same."""
_TRANSFERS = {16: Transfer.PQ, 18: Transfer.HLG}
_GAMUTS = {9: Gamut.BT2020, 11: Gamut.P3, 12: Gamut.P3}
"""ITU-T H.273's code points."""
_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True, slots=True)
class Still:
    """Upright RGB pixels [H, W, 3], possibly reduced; width and height are the upright original's."""

    pixels: Image
    width: int
    height: int


def decode_still(picture: bytes, header: Header, max_side: int = 0) -> Still:
    """Decode a picture, reduced where at least `max_side` pixels are left on the longer side; 0: at full size.

    Raises Unreadable.
    """
    scale = reduction(header, max_side)
    if header.format == "jpeg":
        stored = _jpeg(picture, header, scale)
        _check_size(header, stored, scale)
        return Still(orient(stored, header.orientation), *header.upright_size)
    if header.format in ("png", "webp"):
        stored = _opencv(picture, header)
        _check_size(header, stored)
    else:
        stored = _pillow(picture, header)
    rows, columns = stored.shape[:2]
    if scale > 1:  # OpenCV would drop samples to reduce; the area average keeps fine detail
        stored = shrink(stored, -(-columns // scale), -(-rows // scale))
    shown = Header(header.format, columns, rows, header.orientation)  # libheif crops to the clean aperture
    return Still(orient(_in_srgb(stored, header), header.orientation), *shown.upright_size)


def reduction(header: Header, max_side: int) -> int:
    """1, 2, 4 or 8: the strongest reduction that leaves the longer side at least `max_side` pixels (0: none)."""
    longer = max(header.width, header.height)
    return max(scale for scale in _REDUCED if scale == 1 or (max_side and longer >= scale * max_side))


def decoding_pixels(header: Header, max_side: int) -> int:
    """Pixels that are in memory while a picture is decoded for `max_side`."""
    if not header.by_rows:
        return header.pixels
    width, height = stored_size(header, reduction(header, max_side))
    return width * height


def stored_size(header: Header, scale: int) -> tuple[int, int]:
    """Width and height in pixels, as stored, after a reduction by `scale`: rounded up."""
    return -(-header.width // scale), -(-header.height // scale)


def _check_size(header: Header, stored: Image, scale: int = 1) -> None:
    if (stored.shape[1], stored.shape[0]) != stored_size(header, scale):
        raise Unreadable("unreadable_image", f"the header states {header.width} × {header.height}, the pixels differ")


def _jpeg(picture: bytes, header: Header, scale: int) -> Image:
    at_least = stored_size(header, scale) if scale > 1 else None
    if (decoded := decode_jpeg(picture, at_least)) is not None:
        return decoded
    if not is_complete(picture):
        raise Unreadable("unreadable_image", "cut short jpeg")
    return _read(with_end(picture), header, _COLOR | _REDUCED[scale])


def _opencv(picture: bytes, header: Header) -> Image:
    if not header.transparent:
        return _read(picture, header, _COLOR)
    decoded = _read(picture, header, cv2.IMREAD_UNCHANGED)
    if decoded.ndim == 3 and decoded.shape[2] == 4:
        return on_ground(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA).astype(np.uint8, copy=False))
    return cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB if decoded.ndim == 2 else cv2.COLOR_BGR2RGB).astype(np.uint8)


def _read(picture: bytes, header: Header, flags: int) -> Image:
    """8 bits per channel, whatever the picture has."""
    try:
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), flags)
    except cv2.error as error:
        raise Unreadable("unreadable_image", f"damaged {header.format}: {error.err}") from error
    if decoded is None:
        raise Unreadable("unreadable_image", f"damaged or cut short {header.format}")
    if decoded.dtype == np.uint16:
        decoded = np.asarray(decoded, np.uint16) >> 8
    return decoded.astype(np.uint8, copy=False)


def _pillow(picture: bytes, header: Header) -> Image:
    """Through the one plugin that reads the format; a damaged file makes each of them raise errors of its own."""
    try:
        with _opened(picture, header) as image:
            has_alpha = image.has_transparency_data
            decoded = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable("unreadable_image", f"damaged {header.format}: {error}") from error
    return on_ground(decoded) if has_alpha else decoded


def _in_srgb(stored: Image, header: Header) -> Image:
    transfer, gamut = _TRANSFERS.get(header.transfer, Transfer.SDR), _GAMUTS.get(header.primaries, Gamut.BT709)
    if transfer is Transfer.SDR and gamut is Gamut.BT709:
        return stored
    return to_sdr(np.asarray(stored.astype(np.uint16) << 8, np.uint16), transfer, gamut)


def _opened(picture: bytes, header: Header) -> PillowImage.Image:
    if header.format in ("heic", "heif"):
        from pillow_heif import HeifImageFile

        heif: PillowImage.Image = HeifImageFile(io.BytesIO(picture))
        return heif
    return PillowImage.open(io.BytesIO(picture), formats=(header.format.upper(),))
