"""HDR and wide-gamut video and stills as ordinary pictures: BT.2100 PQ and HLG, BT.2020 and P3 become sRGB.

Without it a film in PQ looks gray and its colors are others: what is red has little more red than blue. FFmpeg's own
filter for it (zscale) needs a library that PyAV's wheels do not contain.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from processors.opencv import cv2

Floats = NDArray[np.float32]

WHITE_NITS = 203.0
"""What a white page has in HDR (ITU-R BT.2408): it stays the white of an ordinary picture."""
HLG_PEAK_NITS, HLG_GAMMA = 1000.0, 1.2
"""The screen that BT.2100 defines for HLG."""
KNEE = 0.8
"""Up to this brightness, in parts of white, colors are exact; brighter ones are compressed into the rest."""
BAND_ROWS = 64
"""Rows at a time, so that the floats stay in the processor's cache."""
_CODES, _WHITE_CODE = 1 << 16, 255 << 8
"""Codes of 16 bits; swscale gives the largest of YUV as 0xFF00."""
_LEVELS = 1 << 14
"""Steps of linear light before it is coded in 8 bits: less than a third of a level at black."""


class Transfer(Enum):
    """How code values stand for light."""

    SDR = "sdr"
    PQ = "pq"
    HLG = "hlg"


class Gamut(Enum):
    """The primaries, as the matrix from their linear RGB to BT.709's (ITU-R BT.2087; SMPTE EG 432-1 for P3)."""

    BT709 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    BT2020 = ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008350), (-0.018151, -0.100579, 1.118730))
    P3 = ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274))


_LUMA_2020 = np.array([[0.2627, 0.6780, 0.0593]], np.float32)


def to_sdr(rgb: NDArray[np.uint16], transfer: Transfer, gamut: Gamut) -> NDArray[np.uint8]:
    """sRGB [H, W, 3] of full-range RGB codes of 16 bits [H, W, 3]."""
    shown = np.empty(rgb.shape, np.uint8)
    for top in range(0, rgb.shape[0], BAND_ROWS):
        shown[top : top + BAND_ROWS] = _band(rgb[top : top + BAND_ROWS], transfer, gamut)
    return shown


def _band(rgb: NDArray[np.uint16], transfer: Transfer, gamut: Gamut) -> NDArray[np.uint8]:
    light = np.take(_light(transfer), rgb)
    if transfer is Transfer.HLG:
        light *= _screen_gamma(light)[..., None]
    light = cv2.transform(light, np.array(gamut.value, np.float32)).astype(np.float32, copy=False)
    if transfer is not Transfer.SDR:
        peak = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
        if peak.max() > KNEE:
            light *= _compression(peak)[..., None]
    np.clip(light, 0, 1, out=light)
    light *= _LEVELS - 1
    return np.take(_srgb_codes(), light.astype(np.uint16))


def _screen_gamma(scene: Floats) -> Floats:
    """The factor from HLG's light of the scene to the screen's, for each pixel (BT.2100's OOTF)."""
    luma = cv2.transform(scene, _LUMA_2020)
    return np.take(_screen_factors(), (luma * (_LEVELS - 1)).astype(np.uint16), mode="clip")


def _compression(peak: Floats) -> Floats:
    """The factor for each pixel, from its largest channel, so that the hue stays."""
    over = np.maximum(peak - np.float32(KNEE), 0) / np.float32(1 - KNEE)
    shown = over / (1 + over) * np.float32(1 - KNEE) + np.float32(KNEE)
    return np.asarray(shown / np.maximum(peak, np.float32(KNEE)), np.float32)


@lru_cache(maxsize=1)
def _screen_factors() -> Floats:
    """For each of `_LEVELS` steps of the scene's luma."""
    luma = np.arange(_LEVELS) / (_LEVELS - 1)
    return (HLG_PEAK_NITS / WHITE_NITS * luma ** (HLG_GAMMA - 1)).astype(np.float32)


@lru_cache(maxsize=3)
def _light(transfer: Transfer) -> Floats:
    """Light for each code: 1.0 is white; HLG's is the scene's, before the screen's gamma."""
    code = np.minimum(np.arange(_CODES) / _WHITE_CODE, 1)
    match transfer:
        case Transfer.PQ:  # SMPTE ST 2084
            m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
            power = code ** (1 / m2)
            light = 10_000 / WHITE_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        case Transfer.HLG:  # ITU-R BT.2100
            a, b, c = 0.17883277, 0.28466892, 0.55991073
            light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        case Transfer.SDR:
            light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@lru_cache(maxsize=1)
def _srgb_codes() -> NDArray[np.uint8]:
    """The code of 8 bits for each of `_LEVELS` steps of light (IEC 61966-2-1)."""
    light = np.arange(_LEVELS) / (_LEVELS - 1)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (code * 255).round().astype(np.uint8)
