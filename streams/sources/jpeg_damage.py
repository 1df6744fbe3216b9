"""Whether a camera's JPEG came whole: libjpeg tells, where FFmpeg fills what is missing without a word."""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from processors.headers import Unreadable, read_header
from processors.jpeg import decode_jpeg
from processors.orientation import orient

MAX_PADDING_BYTES = 32
"""Before the end marker; many webcams send some. After damage libjpeg finds more: what is left of the picture."""
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_END = b"\xff\xd9"
_DAMAGE = ("Corrupt JPEG data", "Premature end", "Unsupported marker", "Invalid JPEG file")
"""How libjpeg's messages of damage begin; others are of kinds of JPEG that it does not decode."""
_SMALLEST = (1, 1)
"""The strongest reduction: the data are read to their end, but few pixels are computed."""


def is_damaged(jpeg: bytes) -> bool:
    """A JPEG that lacks only its end marker is whole, and so is one of a kind that libjpeg does not decode."""
    return decode_jpeg(jpeg, _SMALLEST) is None and (fault := _fault(jpeg)).startswith(_DAMAGE) and not _padding(fault)


def whole_jpeg(content: bytes) -> NDArray[np.uint8] | None:
    """uint8 BGR [height, width, 3], upright; None for a damaged JPEG and for one that cannot be decoded."""
    try:
        orientation = read_header(content).orientation
    except Unreadable:
        return None
    rgb = decode_jpeg(content)
    if rgb is None and (padding := _padding(_fault(content))):
        end = content.rfind(_END)
        rgb = decode_jpeg(content[: end - padding] + _END)
    return None if rgb is None else orient(np.ascontiguousarray(rgb[..., ::-1]), orientation)


def _fault(jpeg: bytes) -> str:
    """What libjpeg says of a JPEG that it does not decode without a warning; empty if it does."""
    try:
        simplejpeg.decode_jpeg(jpeg, "RGB", min_width=1, min_height=1)
    except ValueError as error:
        return str(error)
    return ""


def _padding(fault: str) -> int:
    """The bytes before the end marker that belong to nothing, if there are few of them."""
    found = _EXTRANEOUS.match(fault)
    return int(found[1]) if found is not None and int(found[1]) <= MAX_PADDING_BYTES else 0
