"""The searcher over a real embedded index, whose vectors are made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio

from schemas.events import Caption, Detection, FrameEvent
from schemas.points import FRAME_FIELDS, SEMANTIC, VISUAL, payload
from search.calibrate import Calibration, fit
from search.filters import mentions
from search.models import SearchModels
from search.query import Filters, parse, term
from search.retrieve import Searcher
from search.vocabulary import Vocabulary
from stores.edge.client import EdgeIndex
from stores.errors import Missing
from stores.index import CollectionSpec, Point
from tests.support.events import frame_event
from tests.unit.search.bags import DIMENSION, Bags

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
COLORS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "star")
KINDS = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
CAPTIONS = (
    "a photo of a red circle.",
    "a cartoon of a red circle and a blue square.",
    "a photo of a red square and a blue circle.",
    "a cartoon of a green star.",
    "a photo of two people beside a red circle.",
    "a photo of a big red square beside a green star.",
)
YARD = "a photo of a blue star."
FOREIGN = "a photo of a red circle of others."
pytestmark = pytest.mark.asyncio(loop_scope="module")


def event(caption: str, number: int, feed: str = "lobby", tenant: str = "default") -> FrameEvent:
    labels = [shape for shape in SHAPES if shape in caption]
    return frame_event(
        f"test:{uuid4()}", tenant=tenant, feed=feed, kind="still", ingested=NOW - timedelta(hours=number),
        image={"width": 320, "height": 240}, captions=(Caption(text=caption, model="hand"),),
        detections=tuple(Detection(label=label, confidence=0.9, box=(0, 0, 9, 9)) for label in labels),
    )  # fmt: skip


def calibration(bags: Bags) -> Calibration:
    """Fitted on captions of one and two things."""
    rng = np.random.default_rng(0)
    chosen = [rng.choice(KINDS, 1 + number % 2, replace=False) for number in range(160)]
    pictures = bags.embed_texts([f"a photo of a {' and a '.join(kinds)}." for kinds in chosen])
    matches = np.array([[kind in kinds for kinds in chosen] for kind in KINDS])
    queries = bags.embed_texts([f"a {kind}" for kind in KINDS])
    curve = fit(queries, pictures[:80], matches[:, :80], pictures[80:])
    same = fit(pictures[:40], pictures[:80], np.eye(40, 80, dtype=bool), pictures[80:])
    references = {SEMANTIC: pictures[80:], VISUAL: pictures[80:]}
    return Calibration(revision="hand", curves={"text": curve, "image": same}, references=references)


class Shelf:
    """An index with the captions as pictures, and searchers of it."""

    def __init__(self, index: EdgeIndex) -> None:
        self.index = index
        self.bags = Bags()
        self.calibration = calibration(self.bags)
        self.ids: dict[str, str] = {}

    async def fill(self, captions: Sequence[str], **others: str) -> None:
        events = [event(caption, number, **others) for number, caption in enumerate(captions)]
        vectors = self.bags.embed_texts([event.captions[0].text for event in events])
        points = [
            Point(id=event.id, vectors={SEMANTIC: vector, VISUAL: vector}, payload=payload(event))
            for event, vector in zip(events, vectors, strict=True)
        ]
        await self.index.upsert("frames", points)
        self.ids |= {event.captions[0].text: event.id for event in events}

    def searcher(self, *, calibrated: bool = True, vocabulary: Vocabulary | None = None) -> Searcher:
        calibration = self.calibration if calibrated else None
        models = SearchModels(self.bags, self.bags, calibration=calibration, vocabulary=vocabulary or Vocabulary())
        return Searcher(self.index, models)

    async def captions(self, text: str, *, calibrated: bool = True, filters: Filters | None = None) -> list[str]:
        query = parse(text, now=NOW, filters=filters)
        result = await self.searcher(calibrated=calibrated).search(query)
        return [hit.payload["caption"] for hit in result.hits]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shelf]:
    """Tests must not change it."""
    index = EdgeIndex(tmp_path_factory.mktemp("shelf") / "index")
    spec = CollectionSpec(name="frames-hand", vectors={SEMANTIC: DIMENSION, VISUAL: DIMENSION}, payload=FRAME_FIELDS)
    await index.ensure(spec, alias="frames")
    filled = Shelf(index)
    await filled.fill(CAPTIONS)
    await filled.fill([YARD], feed="yard")
    await filled.fill([FOREIGN], tenant="others")
    yield filled
    await index.close()


async def test_matches_come_first_and_the_rest_not_at_all(shelf: Shelf) -> None:
    captions = await shelf.captions("a red circle")
    assert captions[0] == CAPTIONS[0]
    assert set(captions) == {CAPTIONS[0], CAPTIONS[1], CAPTIONS[4]}


async def test_negatives_exclude_pictures_and_are_never_part_of_the_text(shelf: Shelf) -> None:
    shelf.bags.embedded.clear()
    assert set(await shelf.captions("a red circle, but no square")) == {CAPTIONS[0], CAPTIONS[4]}
    assert shelf.bags.embedded == ["a red circle", "a square"]
    assert set(await shelf.captions("a red circle without people -cartoon")) == {CAPTIONS[0]}


async def test_a_pair_excludes_only_that_pair(shelf: Shelf) -> None:
    captions = set(await shelf.captions('-"red square"'))
    assert captions == {*CAPTIONS, YARD} - {CAPTIONS[2], CAPTIONS[5]}
    assert set(await shelf.captions("no big red squares")) == {*CAPTIONS, YARD} - {CAPTIONS[5]}


async def test_singular_and_plural_exclude_the_same(shelf: Shelf) -> None:
    assert CAPTIONS[4] not in await shelf.captions("-person")
    assert CAPTIONS[4] not in await shelf.captions("-people")


async def test_filters(shelf: Shelf) -> None:
    assert await shelf.captions("feed:yard") == [YARD]
    assert set(await shelf.captions("label:star")) == {CAPTIONS[3], CAPTIONS[5], YARD}
    recent = await shelf.captions("", filters=Filters(feeds=("lobby",), since=NOW - timedelta(hours=1)))
    assert recent == list(CAPTIONS[:2])
    assert not any("others" in caption for caption in await shelf.captions("a red circle"))


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ('label:" Stars "', "label:star"),
        ('feed:" Yard"', "feed:yard"),
        ("label:CIRCLES,star", "label:circle label:star"),
        ('-label:"Stars"', "-label:star"),
        ("-feed:YARD", "-feed:yard"),
        ("label:star label:nothing", "label:star"),
    ],
)
async def test_names_are_compared_without_case_plural_and_spaces(shelf: Shelf, typed: str, same: str) -> None:
    assert await shelf.captions(typed) == await shelf.captions(same) != []


async def test_filters_leave_out(shelf: Shelf) -> None:
    assert set(await shelf.captions("-feed:yard")) == set(CAPTIONS)
    assert set(await shelf.captions("-label:circle,square")) == {CAPTIONS[3], YARD}
    assert set(await shelf.captions('-label:"red square"')) == {*CAPTIONS, YARD} - {CAPTIONS[2], CAPTIONS[5]}


@pytest.mark.parametrize(
    ("typed", "unknown", "shown"),
    [
        ("label:sqare", ("label", "sqare", "square"), 0),
        ("a red circle label:cirle", ("label", "cirle", "circle"), 0),
        ("feed:loby", ("feed", "loby", "lobby"), 0),
        ("feed:others", ("feed", "others", "lobby"), 0),
        ("feed:loby,yard", ("feed", "loby", "lobby"), 1),
        ("-label:sqare", ("label", "sqare", "square"), 7),
        ("-feed:zebra", ("feed", "zebra", "lobby"), 7),
        ('-label:"blue squares"', None, 6),
    ],
)
async def test_an_unknown_name_is_told_with_the_nearest(
    shelf: Shelf, typed: str, unknown: tuple[str, str, str] | None, shown: int
) -> None:
    """A name of another tenant is as unknown as one that no tenant has."""
    result = await shelf.searcher().search(parse(typed, now=NOW))
    told = [(entry.kind, entry.name, entry.nearest[0]) for entry in result.unknown_names]
    assert (told, len(result.hits)) == ([unknown] if unknown else [], shown)
    assert result.nothing_matches == (not shown)


@pytest.mark.parametrize("typed", ["the", "show me", "42", '"🦊"', "100% feed:lobby"])
async def test_a_query_of_which_nothing_is_left_shows_nothing_and_says_so(shelf: Shelf, typed: str) -> None:
    known = Vocabulary(frozenset({"red", "green", "circle", "square", "and", "of", "photo", "the"}))
    result = await shelf.searcher(vocabulary=known).search(parse(typed, now=NOW))
    assert (result.nothing_left, result.nothing_matches, result.hits) == (True, True, ())
    assert result.contents


async def test_numbers_count(shelf: Shelf) -> None:
    known = Vocabulary(frozenset({"red", "green", "blue", "circle", "square", "star", "and", "a"}))
    for typed, counted, shown in (
        ("1 circle", "1 circle", {*CAPTIONS[:3], CAPTIONS[4]}),
        ("2 circles", "2 circles", set()),
        ("one red circle", "at least 1 circle", {*CAPTIONS[:3], CAPTIONS[4]}),
    ):
        result = await shelf.searcher(calibrated=False, vocabulary=known).search(parse(typed, now=NOW))
        assert {hit.payload["caption"] for hit in result.hits} == shown
        assert result.counts == (counted,)
        assert result.unknown_words == ()
    named = await shelf.searcher(vocabulary=known).search(parse("3 red things, a red circle", now=NOW))
    assert named.unknown_words == ("3", "thing")
    assert named.hits


async def test_a_query_without_a_match_shows_the_contents(shelf: Shelf) -> None:
    result = await shelf.searcher().search(parse("a yellow star", now=NOW))
    assert result.nothing_matches
    assert result.hits == ()
    assert result.best is not None
    assert result.contents is not None
    assert result.contents.pictures == len(CAPTIONS) + 1
    assert result.contents.labels == {"circle": 4, "square": 3, "star": 3}
    assert result.contents.phrases["red circle"] == 3
    assert not any("of" in phrase.split() for phrase in result.contents.phrases)


async def test_filters_that_no_picture_meets_show_the_contents(shelf: Shelf) -> None:
    result = await shelf.searcher().search(parse("until:2020-01-01", now=NOW))
    assert (result.nothing_matches, result.total) == (True, 0)
    assert result.contents is not None


async def test_unknown_words_are_named_and_left_out(shelf: Shelf) -> None:
    known = Vocabulary(frozenset({"red", "green", "circle", "square", "and", "of", "photo"}))
    result = await shelf.searcher(vocabulary=known).search(parse("a dog and a red circle", now=NOW))
    assert result.unknown_words == ("dog",)
    assert result.text == "a red circle"
    assert result.hits
    nothing = await shelf.searcher(vocabulary=known).search(parse("a dog but no square", now=NOW))
    assert nothing.nothing_matches
    assert nothing.hits == ()


async def test_without_calibration_it_ranks_and_says_so(shelf: Shelf) -> None:
    result = await shelf.searcher(calibrated=False).search(parse("a green star, but no square", now=NOW))
    assert not result.calibrated
    assert result.hits[0].payload["caption"] == CAPTIONS[3]
    assert {hit.probability for hit in result.hits} == {None}
    assert not any(mentions(hit.payload, term("square")) for hit in result.hits)


async def test_pictures_like_an_indexed_one_are_others(shelf: Shelf) -> None:
    query = parse("", now=NOW, like=shelf.ids[CAPTIONS[0]])
    result = await shelf.searcher(calibrated=False).search(query)
    assert result.hits[0].payload["caption"] == CAPTIONS[4]
    assert {hit.payload["caption"] for hit in result.hits} == {*CAPTIONS[1:], YARD}


async def test_a_picture_of_another_tenant_is_as_missing_as_none(shelf: Shelf) -> None:
    refusals = []
    for like in (shelf.ids[FOREIGN], str(uuid4())):
        with pytest.raises(Missing) as refused:
            await shelf.searcher().search(parse("", now=NOW, like=like))
        refusals.append(str(refused.value).replace(like, "ID"))
    assert len(set(refusals)) == 1
