"""The contract of every vector index; each implementation is a subclass with a fixture `where`."""

# ruff: noqa: FBT003 - boolean values are among those of the conditions

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from stores.errors import Missing, Refused, WrongLayout
from stores.index import CollectionSpec, Filter, Index, Match, PayloadType, Point, Vector, Verified
from stores.open import open_index

SIZE = 8
FIELDS: dict[str, PayloadType] = {
    "feed": "keyword",
    "labels": "keyword",
    "width": "integer",
    "luminance": "float",
    "gated": "bool",
    "captured": "datetime",
    "caption": "text",
}
SPEC = CollectionSpec(name="frames-a", vectors={"semantic": SIZE, "visual": 3}, payload=FIELDS)
MIDNIGHT = datetime(2026, 11, 2, tzinfo=UTC)
random = np.random.default_rng(0)


def direction(axis: int, size: int = SIZE) -> Vector:
    """The unit vector along `axis`."""
    vector: Vector = np.eye(size, dtype=np.float32)[axis]
    return vector


def point(number: int, vector: Vector | None = None, **payload: Any) -> Point:
    """The point whose id is `number`; along axis 0 without a vector."""
    vectors = {"semantic": direction(0) if vector is None else vector}
    return Point(id=str(UUID(int=number)), vectors=vectors, payload=payload)


def numbers(hits: Any) -> list[int]:
    return [UUID(hit.id).int for hit in hits]


async def latest(index: Index, where: Filter | None, limit: int) -> AsyncIterator[list[int]]:
    """The pages of the latest points by `captured`."""
    after, first = None, True
    while first or after is not None:
        hits, after = await index.latest("frames", "captured", where=where, limit=limit, after=after)
        first = False
        yield numbers(hits)


def having(field: str, *values: str | int | bool, **bounds: Any) -> Filter:
    return Filter(must=(Match(field=field, any_of=values, **bounds),))


def but(field: str, *values: str | int | bool, **bounds: Any) -> Filter:
    return Filter(must_not=(Match(field=field, any_of=values, **bounds),))


FRAMES = (
    point(1, feed="lobby", labels=["circle", "square"], width=640, luminance=0.25, gated=False,
          captured="2026-11-01T12:00:00Z", caption="a red circle above a blue square"),
    point(2, direction(1), feed="lobby", labels=["circle"], width=800, luminance=0.5, gated=True,
          captured="2026-11-01T13:30:00.250Z", caption="one red circle"),
    point(3, direction(2), feed="gate", labels=[], width=1920, luminance=0.75, gated=False,
          captured="2026-11-02T00:00:00+02:00", caption="a blue circle on red"),
    point(4, direction(3), feed="gate", labels="triangle", width=640, caption=""),
)  # fmt: skip


class IndexSuite:
    """`where` is what `open_index` takes; what earlier tests left there is removed before each."""

    @pytest.fixture
    def where(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    async def index(self, where: str) -> AsyncIterator[Index]:
        index = open_index(where)
        for name in set(await index.collections()) - {SPEC.name}:
            await index.remove(name)
        await index.ensure(SPEC, "frames")
        await index.delete("frames", Filter())
        yield index
        await index.close()

    @pytest.fixture
    async def filled(self, index: Index) -> Index:
        await index.upsert("frames", FRAMES)
        return index

    # Points

    async def test_nearest_points_come_first_with_their_cosine(self, index: Index) -> None:
        await index.upsert("frames", [point(number, direction(0) + number * direction(1)) for number in (3, 0, 1)])
        hits = await index.search("frames", "semantic", direction(0), limit=2)
        assert numbers(hits) == [0, 1]
        assert [hit.score for hit in hits] == pytest.approx([1, 2**-0.5], abs=1e-5)

    async def test_a_point_is_replaced_whole(self, index: Index) -> None:
        await index.upsert("frames", [point(1, feed="lobby", labels=["circle"])])
        await index.upsert("frames", [point(1, direction(5), feed="gate")])
        (hit,) = await index.search("frames", "semantic", direction(5))
        assert hit.payload == {"feed": "gate"}
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert await index.count("frames") == 1

    async def test_the_last_of_a_repeated_id_counts(self, index: Index) -> None:
        for feed in ("first", "second", "third"):
            await index.upsert("frames", [point(1, feed=feed)])
        assert await index.facet("frames", "feed") == {"third": 1}

    async def test_named_vectors_are_separate_and_returned_at_unit_length(self, index: Index) -> None:
        both = {"semantic": 4 * direction(2), "visual": np.array([3, 0, 4], np.float32)}
        await index.upsert("frames", [Point(id=str(UUID(int=1)), vectors=both, payload={}), point(2)])
        (hit,) = await index.search("frames", "visual", direction(0, 3), with_vectors=["visual"])
        assert hit.id == str(UUID(int=1))
        assert hit.score == pytest.approx(0.6, abs=1e-5)
        assert np.frombuffer(hit.vectors["visual"], "<f4") == pytest.approx([0.6, 0, 0.8], abs=1e-5)
        (hit,) = await index.get("frames", [str(UUID(int=1))], with_vectors=["semantic", "visual"])
        assert np.frombuffer(hit.vectors["semantic"], "<f4") == pytest.approx(direction(2), abs=1e-5)
        assert set(hit.vectors) == {"semantic", "visual"}

    async def test_payloads_are_returned_unchanged(self, index: Index) -> None:
        payload: dict[str, Any] = {
            "feed": "kamera-größe", "labels": ["红色圆圈", "🟥", "a\u0301", ""], "width": 2**53, "luminance": -0.5,
            "gated": True, "none": None, "nested": {"détections": [{"box": [1, 2.5, 3, 4]}]}, "empty": [],
        }  # fmt: skip
        await index.upsert("frames", [point(1, **payload)])
        (hit,) = await index.get("frames", [str(UUID(int=1))])
        assert hit.payload == payload
        assert await index.count("frames", having("labels", "红色圆圈")) == 1
        assert await index.count("frames", having("labels", "🟥")) == 1

    async def test_many_points_at_once(self, index: Index) -> None:
        vectors = random.standard_normal((1_000, SIZE)).astype(np.float32)
        await index.upsert("frames", [point(number, vector, width=number) for number, vector in enumerate(vectors)])
        assert await index.count("frames") == 1_000
        hits = await index.search("frames", "semantic", vectors[777], limit=1)
        assert (numbers(hits), hits[0].payload) == ([777], {"width": 777})
        await index.upsert("frames", [])

    async def test_get_leaves_out_what_is_missing(self, filled: Index) -> None:
        hits = await filled.get("frames", [str(UUID(int=number)) for number in (1, 9, 3)])
        assert sorted(numbers(hits)) == [1, 3]
        assert {hit.score for hit in hits} == {0.0}
        assert await filled.get("frames", []) == []

    # Filters

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (Filter(), [1, 2, 3, 4]),
            (having("feed", "lobby"), [1, 2]),
            (having("feed", "lobby", "gate"), [1, 2, 3, 4]),
            (having("feed", "cellar"), []),
            (having("labels", "circle"), [1, 2]),
            (having("labels", "square", "triangle"), [1, 4]),
            (having("width", 640), [1, 4]),
            (having("width", 640, 1920), [1, 3, 4]),
            (having("width", at_least=640, at_most=800), [1, 2, 4]),
            (having("luminance", at_least=0.5), [2, 3]),
            (having("luminance", at_most=0.25), [1]),
            (having("gated", True), [2]),
            (having("gated", False), [1, 3]),
            (having("gated", True, False), [1, 2, 3]),
            (having("captured", at_least="2026-11-01T12:00:00Z", at_most="2026-11-01T13:30:00Z"), [1]),
            (having("captured", at_least="2026-11-01T14:30:00.25+01:00"), [2, 3]),
            (having("captured", at_most="2026-11-01T22:00:00Z"), [1, 2, 3]),
            (having("captured", below="2026-11-01T22:00:00Z"), [1, 2]),
            (having("captured", at_least="2026-11-01T12:00:00Z", below="2026-11-01T13:30:00.25Z"), [1]),
            (having("width", below=800), [1, 4]),
            (having("caption", "circle"), [1, 2, 3]),
            (having("caption", "red circle"), [1, 2, 3]),
            (having("caption", "square", "one"), [1, 2]),
            (but("feed", "lobby"), [3, 4]),
            (but("labels", "square"), [2, 3, 4]),
            (but("gated", False), [2, 4]),
            (but("width", at_least=700, at_most=900), [1, 3, 4]),
            (but("captured", at_least="2026-11-01T13:00:00Z"), [1, 4]),
            (but("absent", "anything"), [1, 2, 3, 4]),
            (having("width", 640, 800, at_least=700), [2]),
            (but("width", 640, 800, at_least=700), [1, 3, 4]),
            (Filter(must=(Match(field="labels", any_of=("circle",)), Match(field="labels", any_of=("square",)))), [1]),
            (Filter(must_not=(Match(field="feed", any_of=("gate",)), Match(field="width", any_of=(640,)))), [2]),
            (
                Filter(
                    must=(Match(field="feed", any_of=("lobby",)),),
                    must_not=(Match(field="labels", any_of=("square",)),),
                ),
                [2],
            ),
        ],
    )
    async def test_filters(self, filled: Index, condition: Filter, expected: list[int]) -> None:
        """Search, scroll, count and delete apply a filter alike."""
        hits = await filled.search("frames", "semantic", direction(0), where=condition)
        assert sorted(numbers(hits)) == expected
        assert numbers((await filled.scroll("frames", where=condition))[0]) == expected
        assert await filled.count("frames", condition) == len(expected)
        await filled.delete("frames", condition)
        assert numbers((await filled.scroll("frames"))[0]) == [
            number for number in (1, 2, 3, 4) if number not in expected
        ]

    @pytest.mark.parametrize(
        "condition",
        [
            having("feed"),
            but("feed"),
            having("gated", "true"),
            having("feed", True),
            having("captured", at_least="noon"),
            having("caption", 3),
        ],
        ids=["no values", "no denied values", "word for truth", "truth for word", "no time", "number for text"],
    )
    async def test_a_meaningless_filter_is_refused_and_deletes_nothing(self, filled: Index, condition: Filter) -> None:
        with pytest.raises(Refused):
            await filled.count("frames", condition)
        with pytest.raises(Refused):
            await filled.delete("frames", condition)
        assert await filled.count("frames") == 4

    async def test_delete_takes_a_frames_points_alone(self, index: Index) -> None:
        await index.upsert("frames", [point(number, feed=f"feed{number % 3}") for number in range(30)])
        await index.delete("frames", having("feed", "feed1"))
        await index.delete("frames", having("feed", "feed1"))
        assert await index.facet("frames", "feed") == {"feed0": 10, "feed2": 10}

    # Pages and counts

    async def test_scroll_returns_all_points_in_the_order_of_ids(self, index: Index) -> None:
        await index.upsert("frames", [point(int(number), feed="ab"[number % 2]) for number in random.permutation(50)])
        ids: list[int] = []
        after, pages = None, 0
        while pages == 0 or after is not None:
            hits, after = await index.scroll("frames", where=having("feed", "a"), limit=10, after=after)
            ids, pages = ids + numbers(hits), pages + 1
        assert ids == list(range(0, 50, 2))
        assert pages == 3

    async def test_a_page_that_ends_exactly_has_no_cursor(self, index: Index) -> None:
        await index.upsert("frames", [point(number) for number in range(4)])
        hits, after = await index.scroll("frames", limit=4)
        assert (len(hits), after) == (4, None)

    @pytest.mark.parametrize("limit", [1, 3, 7, 40, 100])
    async def test_latest_pages_hold_every_point_by_instant_and_equal_ones_by_id(
        self, index: Index, limit: int
    ) -> None:
        """Groups of equal times are longer than a page, and are written with different offsets."""
        zones = [timezone(timedelta(hours=hours)) for hours in (-11, 0, 5.5, 14)]
        hours = {int(number): int(number) // 9 for number in random.permutation(40)}
        await index.upsert(
            "frames",
            [
                point(number, feed="ab"[number % 2], captured=(MIDNIGHT + timedelta(hours=hour))
                      .astimezone(zones[number % 4]).isoformat())
                for number, hour in hours.items()
            ] + [point(99, feed="a")],
        )  # fmt: skip
        for where, expected in (
            (None, list(hours)),
            (having("feed", "a"), [number for number in hours if not number % 2]),
        ):
            pages = [page async for page in latest(index, where, limit)]
            assert [number for page in pages for number in page] == sorted(expected, key=lambda n: (-hours[n], n))
            assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)

    async def test_latest_are_the_latest_of_thousands(self, index: Index) -> None:
        order = random.permutation(3_000)
        moments = [(MIDNIGHT + timedelta(microseconds=int(place))).isoformat() for place in order]
        await index.upsert("frames", [point(number, captured=moment) for number, moment in enumerate(moments)])
        hits, _ = await index.latest("frames", "captured", limit=5)
        assert [order[number] for number in numbers(hits)] == [2_999, 2_998, 2_997, 2_996, 2_995]

    async def test_a_page_goes_on_where_its_first_point_was_deleted(self, index: Index) -> None:
        moments = [MIDNIGHT, MIDNIGHT, MIDNIGHT - timedelta(hours=1), MIDNIGHT - timedelta(hours=2)]
        await index.upsert("frames", [point(n, width=n, captured=m.isoformat()) for n, m in enumerate(moments)])
        for deleted, rest in ((1, [2, 3]), (2, [3])):
            _, after = await index.latest("frames", "captured", limit=deleted)
            await index.delete("frames", having("width", deleted))
            assert numbers((await index.latest("frames", "captured", after=after))[0]) == rest

    @pytest.mark.parametrize("after", ["", "noon", "2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z_7", "_", "x_y"])
    async def test_a_cursor_that_is_none_is_refused(self, filled: Index, after: str) -> None:
        with pytest.raises(Refused):
            await filled.latest("frames", "captured", after=after)

    async def test_facet_counts_points_most_frequent_first(self, filled: Index) -> None:
        assert next(iter(await filled.facet("frames", "labels"))) == "circle"
        assert await filled.facet("frames", "labels", limit=1) == {"circle": 2}
        assert await filled.facet("frames", "labels", where=having("feed", "gate")) == {"triangle": 1}
        with pytest.raises(Refused):
            await filled.facet("frames", "uri")

    async def test_verified_points_are_counted_and_intact(self, filled: Index) -> None:
        await filled.delete("frames", having("feed", "gate"))
        await filled.upsert("frames", [point(1, feed="lobby", _sums="a caller's own")])
        assert await filled.verify("frames") == Verified(2, ())
        with pytest.raises(Missing):
            await filled.verify("regions")

    # What is refused

    @pytest.mark.parametrize(
        "vectors",
        [
            {"semantic": np.full(SIZE, np.nan, np.float32)},
            {"semantic": np.array([1, np.inf, *[0] * (SIZE - 2)], np.float32)},
            {"semantic": np.zeros(SIZE, np.float32)},
            {"semantic": np.full(SIZE, 1e-30, np.float32)},
            {"semantic": np.full(SIZE, 1e30, np.float32)},
            {"semantic": np.ones(SIZE + 1, np.float32)},
            {"semantic": np.ones((2, SIZE), np.float32)},
            {"unknown": np.ones(SIZE, np.float32)},
            {"semantic": direction(0), "visual": np.zeros(3, np.float32)},
            {},
        ],
        ids=[
            "nan",
            "infinity",
            "zero",
            "vanishing",
            "huge",
            "wrong size",
            "matrix",
            "unknown name",
            "one zero",
            "none",
        ],
    )
    async def test_a_vector_without_direction_is_refused(self, index: Index, vectors: dict[str, Vector]) -> None:
        with pytest.raises(Refused):
            await index.upsert("frames", [point(1), Point(id=str(UUID(int=2)), vectors=vectors, payload={})])
        for name, vector in vectors.items():
            if name != "semantic" or len(vectors) == 1:
                with pytest.raises(Refused):
                    await index.search("frames", name, vector)
        assert await index.count("frames") == 0

    async def test_invalid_ids_and_payloads_are_refused(self, index: Index) -> None:
        with pytest.raises(Refused):
            await index.upsert("frames", [Point(id="frame-1", vectors={"semantic": direction(0)}, payload={})])
        with pytest.raises(Refused):
            await index.upsert("frames", [point(1, picture=object())])
        with pytest.raises(Refused):
            await index.get("frames", ["frame-1"])
        assert await index.count("frames") == 0

    # Collections

    async def test_a_missing_collection_is_missing(self, index: Index) -> None:
        for call in (
            index.upsert("regions", [point(1)]),
            index.delete("regions", having("feed", "lobby")),
            index.search("regions", "semantic", direction(0)),
            index.get("regions", [str(UUID(int=1))]),
            index.scroll("regions"),
            index.latest("regions", "captured"),
            index.count("regions"),
            index.facet("regions", "feed"),
        ):
            with pytest.raises(Missing):
                await call

    async def test_an_alias_moves_to_the_next_collection(self, filled: Index) -> None:
        await filled.ensure(CollectionSpec(name="frames-b", vectors={"semantic": SIZE}, payload={}), "frames")
        assert await filled.count("frames") == 0
        assert await filled.collections() == {"frames-a": 4, "frames-b": 0}
        await filled.ensure(SPEC, "frames")
        await filled.ensure(SPEC)
        assert await filled.count("frames") == 4

    async def test_a_removed_collection_is_gone_with_its_alias(self, filled: Index) -> None:
        await filled.remove("frames-a")
        await filled.remove("frames-a")
        assert await filled.collections() == {}
        with pytest.raises(Missing):
            await filled.count("frames")
        await filled.ensure(SPEC, "frames")
        assert await filled.count("frames") == 0

    async def test_another_layout_is_named_difference_by_difference(self, filled: Index) -> None:
        other = CollectionSpec(
            name="frames-a", vectors={"semantic": 5, "patches": 3}, payload=FIELDS | {"feed": "integer"}
        )
        with pytest.raises(WrongLayout) as refused:
            await filled.ensure(other, "frames")
        assert all(name in str(refused.value) for name in ("semantic", "patches", "visual", "feed"))
        assert await filled.count("frames") == 4

    async def test_new_payload_fields_are_indexed_for_old_points(self, index: Index) -> None:
        narrow = CollectionSpec(name="wider", vectors=SPEC.vectors, payload={})
        await index.ensure(narrow)
        await index.upsert("wider", [point(5, track="t1", lost=True), point(6, track="t2", lost=False)])
        await index.ensure(
            CollectionSpec(name="wider", vectors=SPEC.vectors, payload={"track": "keyword", "lost": "bool"})
        )
        await index.ensure(narrow)
        assert await index.facet("wider", "track") == {"t1": 1, "t2": 1}
        assert await index.count("wider", having("lost", True)) == 1

    async def test_a_name_is_a_collections_or_an_alias(self, index: Index) -> None:
        with pytest.raises(Refused):
            await index.ensure(CollectionSpec(name="frames", vectors={"semantic": SIZE}, payload={}))
        with pytest.raises(Refused):
            await index.ensure(CollectionSpec(name="b", vectors={"semantic": SIZE}, payload={}), "frames-a")
        assert list(await index.collections()) == ["frames-a"]

    # Several at once

    async def test_concurrent_calls(self, index: Index) -> None:
        await asyncio.gather(*(index.upsert("frames", [point(number)]) for number in range(100)), index.flush())
        counts = await asyncio.gather(*(index.count("frames") for _ in range(20)))
        assert set(counts) == {100}

    async def test_two_processes_write_and_see_each_other(self, index: Index, where: str) -> None:
        others = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-W", "error", "-m", "tests.contract.index_writer", where, str(first), "300"
            )
            for first in (1_000, 2_000)
        ]
        mine = index.upsert("frames", [point(number, feed="mine") for number in range(300)])
        _, *statuses = await asyncio.gather(mine, *(other.wait() for other in others))
        assert statuses == [0, 0]
        assert await index.facet("frames", "feed") == {"mine": 300, "from-1000": 300, "from-2000": 300}

    async def test_the_next_client_reads_what_was_written(self, filled: Index, where: str) -> None:
        await filled.flush()
        await filled.close()
        again = open_index(where)
        await again.ensure(SPEC, "frames")
        assert numbers((await again.scroll("frames"))[0]) == [1, 2, 3, 4]
        await again.close()
