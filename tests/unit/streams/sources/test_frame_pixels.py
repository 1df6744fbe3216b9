"""Frames as they are meant to be seen: colors, square pixels, and all eight orientations."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from processors.orientation import MATRICES, orient
from streams.sources.frame_pixels import square_size
from streams.sources.video import decode_frames, open_video
from tests.support.odd_videos import (
    QUADRANTS,
    TO_BT2020,
    centers,
    distance,
    hlg,
    linear,
    pq,
    quadrants,
    tagged,
    write_frames,
    ycbcr,
)

LOSSY = 8
"""Levels that 8-bit codecs and rounding cost."""


def first_frame(path: Path) -> NDArray[np.uint8]:
    return next(decode_frames(path))


@pytest.mark.parametrize("orientation", sorted(MATRICES))
def test_a_display_matrix_turns_and_mirrors_as_exif_does(tmp_path: Path, orientation: int) -> None:
    a, b, c, d = (65_536 * entry for entry in MATRICES[orientation])

    def declare(stream: Any) -> None:
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])

    stored = quadrants()
    path = write_frames(
        tmp_path / "a.mp4", [av.VideoFrame.from_ndarray(stored).reformat(format="yuv420p")], "libx264", declare
    )
    exif = cv2.imencode(".jpg", stored[..., ::-1])[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    segment = b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff
    still = cv2.imdecode(np.frombuffer(exif[:2] + segment + exif[2:], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert still is not None
    shown = first_frame(path)
    assert shown.shape == still.shape == orient(stored, orientation).shape
    assert distance(centers(shown), centers(still.astype(np.uint8))) <= LOSSY


@pytest.mark.parametrize(
    ("size", "shape", "square"),
    [
        ((352, 480), Fraction(20, 11), (640, 480)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((720, 480), Fraction(8, 9), (720, 540)),
        ((640, 480), Fraction(1), (640, 480)),
        ((640, 480), None, (640, 480)),
        ((640, 480), Fraction(100), (640, 480)),
    ],
)
def test_pixels_become_square(size: tuple[int, int], shape: Fraction | None, square: tuple[int, int]) -> None:
    assert square_size(*size, shape) == square


def test_a_film_with_wide_pixels_is_as_wide_as_players_show_it(tmp_path: Path) -> None:
    def declare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(20, 11)

    frame = av.VideoFrame.from_ndarray(quadrants(88, 120)).reformat(format="yuv420p")
    shown = first_frame(write_frames(tmp_path / "a.mp4", [frame], "libx264", declare))
    assert shown.shape == (120, 160, 3)
    assert distance(centers(shown)) <= LOSSY


@pytest.mark.parametrize(
    ("width", "height", "matrix", "pixel_format", "tags"),
    [
        (1280, 720, "ITU709", "yuv420p", None),
        (640, 480, "ITU601", "yuv420p", None),
        (640, 480, "ITU709", "yuv420p", tagged(1, 1, 1)),
        (1280, 720, "ITU601", "yuv420p", tagged(6, 6, 6)),
        (640, 480, "ITU709", "yuvj420p", tagged(1, 1, 1, full=True)),
    ],
    ids=["HD without a tag", "SD without a tag", "SD in BT.709", "HD in BT.601", "full range"],
)
def test_colors_are_those_of_the_right_matrix(
    tmp_path: Path, width: int, height: int, matrix: str, pixel_format: str, tags: Any
) -> None:
    frame = av.VideoFrame.from_ndarray(quadrants(width, height))
    stored = frame.reformat(format=pixel_format, dst_colorspace=matrix)
    path = write_frames(tmp_path / "a.mkv", [stored], "libx264", tags or (lambda stream: None))
    assert distance(centers(first_frame(path))) <= LOSSY


@pytest.mark.parametrize(("curve", "transfer"), [(pq, 16), (hlg, 18)], ids=["PQ", "HLG"])
def test_hdr_becomes_the_picture_that_it_was_made_from(tmp_path: Path, curve: Any, transfer: int) -> None:
    """White at 203 nits, as ITU-R BT.2408 has it; what is darker keeps its color, white itself gives room to lights."""
    nits = linear(quadrants()) @ TO_BT2020.T * 203
    path = write_frames(
        tmp_path / "a.mkv", [ycbcr(curve(np.clip(nits, 0, None)), 0.2627, 0.0593)], "ffv1", tagged(9, transfer, 9)
    )
    shown = centers(first_frame(path))
    assert distance(shown[:3], QUADRANTS[:3]) <= LOSSY
    assert distance(shown[3:], QUADRANTS[3:]) <= 16, "the brightest is compressed"


def test_wide_gamut_without_hdr_keeps_its_colors(tmp_path: Path) -> None:
    light = np.clip(linear(quadrants()) @ TO_BT2020.T, 0, 1)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    path = write_frames(tmp_path / "a.mkv", [ycbcr(code, 0.2627, 0.0593)], "ffv1", tagged(9, 14, 9))
    assert distance(centers(first_frame(path))) <= LOSSY


def test_a_light_ten_times_as_bright_as_white_is_white_and_keeps_its_neighbors(tmp_path: Path) -> None:
    nits = np.full((96, 160, 3), 20.0)
    nits[:48] = 2030.0
    path = write_frames(tmp_path / "a.mkv", [ycbcr(pq(nits), 0.2627, 0.0593)], "ffv1", tagged(9, 16, 9))
    shown = centers(first_frame(path))
    assert min(shown[0]) >= 250
    assert distance(shown[2:], [(89, 89, 89)] * 2) <= LOSSY, "20 of 203 nits in sRGB"


def test_colors_are_right_in_both_orders(tmp_path: Path) -> None:
    nits = linear(quadrants()) @ TO_BT2020.T * 203
    path = write_frames(tmp_path / "a.mkv", [ycbcr(pq(nits), 0.2627, 0.0593)], "ffv1", tagged(9, 16, 9))
    with open_video(path) as video:
        _, frame = next(video.stamped())
        assert np.array_equal(video.pixels(frame, "bgr24"), video.pixels(frame, "rgb24")[..., ::-1])


def test_transparent_video_has_a_light_ground(tmp_path: Path) -> None:
    """A black drawing on nothing, as titles and logos are: without a ground it would be all black."""
    drawing = np.zeros((96, 160, 4), np.uint8)
    drawing[:48, :80, 3] = 255
    path = write_frames(tmp_path / "a.mov", [av.VideoFrame.from_ndarray(drawing, format="rgba")], "png")
    assert centers(first_frame(path)) == [(0, 0, 0), (255, 255, 255), (255, 255, 255), (255, 255, 255)]
