"""A contact sheet: pictures in rows, each with a line of text, as one JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from search.models import Pixels
from search.uploads import decode_upload


def contact_sheet(pictures: list[bytes], captions: list[str], columns: int = 4, side: int = 240) -> bytes:
    """A JPEG of the encoded `pictures` in rows of `columns`, each at most `side` pixels, with its caption below."""
    tiles = [_tile(picture, text, side) for picture, text in zip(pictures, captions, strict=True)]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    return cv2.imencode(".jpg", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))[1].tobytes()


def _tile(picture: bytes, text: str, side: int) -> Pixels:
    pixels = decode_upload(picture)
    scale = side / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((side * 3 // 4 + 34, side + 8, 3), 255, np.uint8)
    tile[4 : 4 + small.shape[0], 4 : 4 + small.shape[1]] = small[: tile.shape[0] - 4]
    cv2.putText(tile, text, (6, tile.shape[0] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return tile
