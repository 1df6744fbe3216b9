from __future__ import annotations

import json
import unicodedata
from datetime import timedelta, timezone

import numpy as np
import pytest
from msgspec.structs import replace

from schemas import points
from schemas.events import Caption
from schemas.words import pairs, singular, words
from tests.support.events import NOW, full_event, raw_event


def test_payload_holds_every_indexed_field_and_only_json() -> None:
    for event in (raw_event(), full_event()):
        payload = points.payload(event)
        assert set(points.FRAME_FIELDS) <= set(payload)
        assert json.loads(json.dumps(payload)) == payload
    region = full_event().regions[0]
    payload = points.region_payload(full_event(), region)
    assert set(points.REGION_FIELDS) <= set(payload)
    assert json.loads(json.dumps(payload)) == payload
    assert (payload["attributes"], payload["tracks"]) == (["colour:red"], ["7"])


def test_times_are_written_in_utc_whatever_their_offset() -> None:
    """The index compares instants; people and programs compare texts."""
    tokyo = timezone(timedelta(hours=9))
    event = replace(raw_event(), captured=NOW.astimezone(tokyo), ingested=NOW.astimezone(tokyo))
    payload = points.payload(event)
    assert {payload["time"], payload["captured"], payload["ingested"]} == {NOW.isoformat()}


def test_negative_terms_find_what_is_said_anywhere() -> None:
    payload = points.payload(full_event())
    assert {"red", "circle", "blue", "square", "exit"} <= set(payload["words"])
    assert {"red circle", "blue square"} <= set(payload["compound"])
    assert "red square" not in payload["compound"]
    assert payload["labels"] == ["circle"]
    assert payload["flags"] == ["forbidden sign"]


def test_a_color_known_only_as_an_attribute_still_makes_a_pair() -> None:
    event = replace(full_event(), captions=(), keywords=None, refinement=None)
    region = replace(event.regions[0], caption="", attributes={"colour": "green"})
    assert "green circle" in points.payload(replace(event, regions=(region,)))["compound"]


def test_pairs_do_not_cross_a_comma() -> None:
    event = replace(raw_event(), captions=(Caption(text="A red circle, square left of it", model="m"),))
    assert "circle square" not in points.payload(event)["compound"]
    assert pairs("a red circle and a blue square") == ("red circle", "circle and", "and blue", "blue square")


def test_words_are_the_same_however_they_are_written() -> None:
    assert words("Circles, BOXES; a lady's glasses") == ("circle", "box", "lady", "glass")
    assert words("ﬁre ÄPFEL 3") == ("fire", "äpfel", "3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("नदी के किनारे", ("नदी", "के", "किनारे")),
        ("கடற்கரை", ("கடற்கரை",)),
        ("ที่ บ้าน", ("ที่", "บ้าน")),
        ("می\u200cخواهم", ("می\u200cخواهم",)),
        ("שָׁלוֹם", ("שָׁלוֹם",)),
        ("🦊\ufe0f \u0301", ()),
    ],
)
def test_marks_and_joiners_belong_to_their_words(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == tuple(unicodedata.normalize("NFKC", word) for word in expected)


def test_only_plurals_lose_their_s() -> None:
    assert [singular(word) for word in ("crosses", "stars", "bus", "glass", "is", "ladies", "his")] == [
        "cross",
        "star",
        "bus",
        "glass",
        "is",
        "lady",
        "his",
    ]


def test_vectors_are_by_name_and_absent_without_embeddings() -> None:
    vectors = points.vectors(full_event())
    assert {name: vector.shape for name, vector in vectors.items()} == {"semantic": (4,), "visual": (8,)}
    assert float(np.linalg.norm(vectors["visual"])) == pytest.approx(1.0)
    assert points.vectors(raw_event()) == {}
