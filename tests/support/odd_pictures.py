"""Pictures as phones, editors and broken copies leave them: four colored quarters show how a picture stands."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 40)
QUARTERS = (RED, GREEN, BLUE, YELLOW)
"""Above left, above right, below left, below right."""
ORIENTATION, EXIF_DIRECTORY, TAKEN, OFFSET, SUBSECONDS = 0x112, 0x8769, 0x9003, 0x9011, 0x9291


def quarters(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """RGB [height, width, 3]."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return pixels


def corners(pixels: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """The colors in the middle of the four quarters, in the order of `QUARTERS`."""
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(map(int, pixels[row, column])) for row in rows for column in columns]  # type: ignore[misc]


def stand_upright(pixels: NDArray[np.uint8], within: int = 14) -> bool:
    """Whether the picture shows `quarters` as they are."""
    return corners(pixels) == [pytest.approx(color, abs=within) for color in QUARTERS]


def stored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """What a camera stores so that `orientation` shows `pixels`."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's Transpose
    image = Image.fromarray(pixels)
    return np.asarray(image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image)


def saved(pixels: NDArray[Any], kind: str, *, mode: str | None = None, **options: Any) -> bytes:
    """`pixels` written by Pillow."""
    with io.BytesIO() as file:
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(file, kind, **options)
        return file.getvalue()


def heif(pixels: NDArray[np.uint8], *, tile: int = 0, **options: Any) -> bytes:
    """A HEIC; with `tile` a grid of tiles of that side, as phones write it."""
    import pillow_heif

    file = pillow_heif.from_pillow(Image.fromarray(pixels))
    with io.BytesIO() as target:
        file.save(target, quality=90, **({"tile_size": tile} if tile else {}), **options)
        return target.getvalue()


def exif(**tags: Any) -> bytes:
    """EXIF as Pillow takes it: `orientation`, `taken`, `offset`, `subseconds`."""
    written = Image.Exif()
    if "orientation" in tags:
        written[ORIENTATION] = tags["orientation"]
    directory = written.get_ifd(EXIF_DIRECTORY)
    for name, tag in (("taken", TAKEN), ("offset", OFFSET), ("subseconds", SUBSECONDS)):
        if name in tags:
            directory[tag] = tags[name]
    written[EXIF_DIRECTORY] = directory
    return written.tobytes()


def png(pixels: NDArray[Any], color: int, bits: int, *, between: bytes = b"") -> bytes:
    """A PNG of [height, width, channels], which Pillow does not write in every depth; `between` are further chunks."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if bits == 16 else np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), between, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
