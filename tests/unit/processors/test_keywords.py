"""Words of captions that filters hold on to."""

from __future__ import annotations

import pytest

from processors.keywords import keywords
from schemas.events import Keywords


@pytest.mark.parametrize(
    ("caption", "simple", "compound"),
    [
        (
            "a cartoon of a red circle and a blue square. the red circle is left of the blue square.",
            ("cartoon", "red", "circle", "blue", "square"),
            ("red circle", "blue square"),
        ),
        ("a photo of nothing.", ("photo",), ()),
        ("two dogs sitting next to a large red fire truck", ("dog", "large", "red", "fire", "truck"),
         ("large truck", "red truck", "fire truck")),
        ("A golden ring on the building", ("golden", "ring", "building"), ("golden ring",)),
        ("", (), ()),
    ],
)  # fmt: skip
def test_things_and_what_is_said_of_them(caption: str, simple: tuple[str, ...], compound: tuple[str, ...]) -> None:
    assert keywords([caption]) == Keywords(simple=simple, compound=compound)


def test_a_color_stays_with_its_thing_across_captions() -> None:
    result = keywords(["a red circle, but no square", "a blue square"])
    assert "red square" not in result.compound
    assert result.compound == ("red circle", "blue square")
