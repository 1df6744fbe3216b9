"""Colors of text have the contrast of WCAG 2.2, level AA, on every ground that they stand on, light and dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("sightline.page") / "style.css").read_text()
SMALL_TEXT = 4.5
GROUNDS = ("ground", "raised", "sunk")
PAIRS = [
    *((text, ground) for text in ("ink", "soft", "faint", "accent") for ground in GROUNDS),
    *((text, "ground") for text in ("no", "warm")),
    ("accent-ink", "accent"),
    ("accent", "accent-wash"),
    ("warm", "warm-wash"),
    ("no", "no-wash"),
]


def palettes() -> list[dict[str, str]]:
    """The colors of the light root, and of the dark one, which replaces some of them."""
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", root)) for root in STYLE.split(":root {")[1:3])
    return [light, {**light, **dark}]


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read(text: str, ground: str) -> None:
    for name, colors in zip(("light", "dark"), palettes(), strict=True):
        assert contrast(colors[text], colors[ground]) >= SMALL_TEXT, name


def test_a_lone_live_picture_is_no_larger_than_one_among_several() -> None:
    (several,) = re.findall(r"\.wall \{[^}]*minmax\(min\((\d+)px", STYLE)
    (lone,) = re.findall(r'\.wall\[data-tiles="1"\] \{ max-width: (\d+)px', STYLE)
    assert int(several) <= int(lone) <= int(several) * 1.25
