"""The decode stage: the stage suite, and what is promised of pictures in particular."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from processors.frame import Frame
from processors.headers import read_header
from processors.stages.decode import Decode, DecodeSettings
from tests.contract.stage_suite import StageSuite
from tests.support.pictures import Format, encoded, frame, scene


class TestDecodeIsAStage(StageSuite):
    also = frozenset({"image"})

    @classmethod
    def make(cls) -> Decode:
        return Decode(DecodeSettings(threads=2))

    def frames(self) -> list[Frame]:
        kinds: tuple[Format, ...] = ("jpeg", "png", "webp")
        return [frame(encoded(scene(n), kinds[n % 3]), number=n) for n in range(5)]

    def refused(self) -> list[Frame]:
        whole = encoded(scene(1))
        return [frame(bad) for bad in (b"", b"\xff\xd8\xff", b"GIF89a" + bytes(40), whole[: len(whole) // 2])]


def decode(picture: bytes, **settings: int) -> Frame:
    stage = Decode(DecodeSettings(threads=1, **settings))
    result = frame(picture)
    stage.open("cpu")
    assert stage.process([result]) == [None]
    return result


def reason(picture: bytes, **settings: int) -> str:
    verdict = Decode(DecodeSettings(**settings)).process([frame(picture)])[0]
    assert verdict is not None
    return verdict.reason


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_pixels_are_rgb_and_the_image_is_described(kind: Format) -> None:
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[..., 0] = 200  # red
    result = decode(encoded(pixels, kind))
    assert result.pixels is not None
    assert result.pixels[20, 32].tolist() == pytest.approx([200, 0, 0], abs=6)
    assert (result.image.format, result.image.width, result.image.height) == (kind, 64, 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_stands_upright(kind: str, orientation: int) -> None:
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :48] = (250, 20, 20)  # red above left, blue below right
    upright[32:, 48:] = (20, 20, 250)
    stored = Image.fromarray(upright)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's Transpose that takes upright to stored
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x112] = orientation
    with io.BytesIO() as file:
        stored.save(file, kind, exif=exif.tobytes(), quality=95)
        result = decode(file.getvalue())
    assert result.pixels is not None
    assert result.pixels.shape == (64, 96, 3)
    assert (result.image.width, result.image.height) == (96, 64)
    assert result.pixels[16, 24].tolist() == pytest.approx([250, 20, 20], abs=12)
    assert result.pixels[48, 72].tolist() == pytest.approx([20, 20, 250], abs=12)


def test_an_odd_jpeg_is_still_a_picture() -> None:
    """What our JPEG library refuses, OpenCV may know: inks instead of light, and noise in front of the end."""
    with io.BytesIO() as file:
        Image.new("CMYK", (64, 40), (0, 255, 255, 0)).save(file, "JPEG")
        inks = file.getvalue()
    whole = encoded(scene(1))
    noisy = whole[:-2] + bytes(3) + whole[-2:]
    for picture in (inks, noisy):
        assert decode(picture).pixels is not None
    red = decode(inks).pixels
    assert red is not None
    assert red[20, 32].tolist() == pytest.approx([255, 0, 0], abs=12)


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    assert reason(bomb) == "too_many_pixels"
    assert reason(encoded(scene(1)), max_bytes=100) == "too_many_bytes"
    assert reason(b"") == "empty"
    assert reason(b"<svg/>") == "unsupported_format"
    assert reason(encoded(scene(1), "png")[:-300]) == "unreadable_image"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_scale_follows_the_plan_and_boxes_keep_the_original(kind: Format) -> None:
    result = decode(encoded(scene(3, 803, 601), kind), max_side=200)
    assert result.pixels is not None
    assert result.pixels.shape == (151, 201, 3)  # a quarter, rounded up: at least 200 are left
    assert (result.image.width, result.image.height) == (803, 601)
    full = cv2.resize(scene(3, 803, 601), (201, 151), interpolation=cv2.INTER_AREA)
    assert np.abs(full.astype(int) - result.pixels).mean() < 3


def test_the_thumbnail_is_small_upright_and_optional() -> None:
    result = decode(encoded(scene(4, 1600, 900)), thumbnail_side=160)
    assert result.thumbnail_jpeg is not None
    header = read_header(result.thumbnail_jpeg)
    assert (header.format, header.width, header.height) == ("jpeg", 160, 90)
    small = cv2.imdecode(np.frombuffer(result.thumbnail_jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert small is not None
    expected = cv2.resize(scene(4, 1600, 900), (160, 90), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 6
    assert decode(encoded(scene(4)), thumbnail_side=0).thumbnail_jpeg is None
    tiny = encoded(scene(4))
    assert decode(tiny).thumbnail_jpeg is tiny
    png = decode(encoded(scene(4), "png")).thumbnail_jpeg
    assert png is not None
    assert read_header(png).format == "jpeg"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"lossless": True}])
def test_headers_of_other_encoders(options: dict[str, bool]) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        with io.BytesIO() as file:
            Image.fromarray(scene(1, 131, 77)).convert("RGBA" if kind == "WEBP" else "RGB").save(file, kind, **options)
            header = read_header(file.getvalue())
        assert (header.format, header.width, header.height) == (kind.lower(), 131, 77)
