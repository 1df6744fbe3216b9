"""What is said of a picture bears out a query by the terms in it, pairs counting only as pairs."""

from __future__ import annotations

import numpy as np
import pytest

from search.said import said_of, unsaid

SAID = said_of("a photo of a red circle and a blue square.", ["circle", "square"])


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        ("a red circle", 0.0),
        ("a photo of two red circles", 0.0),
        ("a blue circle", 1.0),
        ("a red circle and a green star", 0.5),
        ("a cartoon of a red circle, a blue square and a star", 0.5),
        ("squares", 0.0),
    ],
)
def test_the_share_of_terms_that_nobody_said(asked: str, share: float) -> None:
    assert unsaid([asked], [SAID])[0, 0] == pytest.approx(share)


def test_of_a_picture_without_words_nothing_is_known() -> None:
    assert np.isnan(unsaid(["a red circle"], [{"words": [], "compound": []}])).all()
    assert unsaid([], [SAID, SAID]).shape == (0, 2)
