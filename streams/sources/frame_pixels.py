"""A decoded video frame as it is to be seen: upright, with square pixels, in the colors of an ordinary picture."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from numpy.typing import NDArray

from processors.orientation import UPRIGHT, orient, orientation_of_matrix
from processors.tone_map import Gamut, Transfer, to_sdr
from processors.transparency import on_ground

Order = Literal["rgb24", "bgr24"]
_KNOWN_COLORSPACES = frozenset({1, 4, 5, 6, 7, 9})
"""ITU-T H.273's matrix coefficients that swscale converts: BT.709, FCC, BT.601 twice, SMPTE 240M, BT.2020."""
_HD_WIDTH, _HD_HEIGHT = 1280, 577
"""From either on, video without a tag is BT.709, as players take it; smaller is BT.601."""
_TRANSFERS = {ColorTrc.SMPTE2084: Transfer.PQ, ColorTrc.ARIB_STD_B67: Transfer.HLG}
_GAMUTS = {
    ColorPrimaries.BT2020: Gamut.BT2020,
    ColorPrimaries.SMPTE431: Gamut.P3,
    ColorPrimaries.SMPTE432: Gamut.P3,
}
_TURNS = {90: 8, 180: 3, -180: 3, -90: 6}
"""FFmpeg's degrees, counterclockwise, in EXIF's numbers."""
_MOST_STRETCH = 4
"""A pixel that is said to be longer than this is a wrong tag."""


def pixels(frame: Any, order: Order = "rgb24", shape: Fraction | None = None) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] of PyAV's `frame`. `shape` is a stored pixel's width to its height; None is square."""
    transfer, gamut = _TRANSFERS.get(frame.color_trc, Transfer.SDR), _GAMUTS.get(frame.color_primaries, Gamut.BT709)
    width, height = square_size(frame.width, frame.height, shape)
    size = {"width": width, "height": height, "src_colorspace": _colorspace(frame, transfer, gamut)}
    if transfer is not Transfer.SDR or gamut is not Gamut.BT709:
        codes = frame.to_ndarray(format="rgb48le", **size)
        stored = _ordered(to_sdr(codes, transfer, gamut if transfer is Transfer.SDR else _wide(gamut, frame)), order)
    elif any(component.is_alpha for component in frame.format.components):
        stored = _ordered(on_ground(frame.to_ndarray(format="rgba", **size)), order)
    else:
        stored = frame.to_ndarray(format=order, **size)
    return orient(stored, _orientation(frame))


def _ordered(rgb: NDArray[np.uint8], order: Order) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rgb[..., ::-1]) if order == "bgr24" else rgb


def square_size(width: int, height: int, shape: Fraction | None) -> tuple[int, int]:
    """The size with square pixels. The side that is too short grows, so that no detail is lost."""
    if shape is None or not Fraction(1, _MOST_STRETCH) <= shape <= _MOST_STRETCH:
        return width, height
    return (round(width * shape), height) if shape > 1 else (width, round(height / shape))


def _wide(gamut: Gamut, frame: Any) -> Gamut:
    """HDR without primaries is BT.2020."""
    return Gamut.BT2020 if frame.color_primaries in (0, ColorPrimaries.UNSPECIFIED) else gamut


def _colorspace(frame: Any, transfer: Transfer, gamut: Gamut) -> Colorspace | None:
    """The matrix from YUV to RGB, None as tagged."""
    if frame.colorspace in _KNOWN_COLORSPACES or frame.format.is_rgb:
        return None
    if transfer is not Transfer.SDR or gamut is Gamut.BT2020:
        return Colorspace.BT2020
    hd = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
    return Colorspace.ITU709 if hd else Colorspace.ITU601


def _orientation(frame: Any) -> int:
    """EXIF's number for the display matrix that belongs to the frame."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know a kind of side data that the frame has as well
        return _TURNS.get(frame.rotation, UPRIGHT)
    return UPRIGHT if matrix is None else orientation_of_matrix(np.frombuffer(matrix, np.int32).tolist())
