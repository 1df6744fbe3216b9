"""The terms of a query that a picture's texts mention, pairs counting only as pairs."""

from __future__ import annotations

import numpy as np
import pytest

from search.text_evidence import text_payload, unsaid_shares

PAYLOAD = text_payload("a photo of a red circle and a blue square.", ["circle", "square"])


@pytest.mark.parametrize(
    ("query", "share"),
    [
        ("a red circle", 0.0),
        ("a photo of two red circles", 0.0),
        ("a blue circle", 1.0),
        ("a red circle and a green star", 0.5),
        ("a cartoon of a red circle, a blue square and a star", 0.5),
        ("squares", 0.0),
    ],
)
def test_the_share_of_terms_that_no_text_mentions(query: str, share: float) -> None:
    assert unsaid_shares([query], [PAYLOAD])[0, 0] == pytest.approx(share)


def test_the_share_is_unknown_for_a_picture_without_texts() -> None:
    assert np.isnan(unsaid_shares(["a red circle"], [{"words": [], "compound": []}])).all()
    assert unsaid_shares([], [PAYLOAD, PAYLOAD]).shape == (0, 2)
