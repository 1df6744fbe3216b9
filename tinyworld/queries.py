"""Queries as people type them: texts that say less than a caption, and whether they are true of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tinyworld.captions import LEAST_NAMED_SHARE, Named, Seen, article, join, relation_of
from tinyworld.scenes import COLORS, SHAPES, STYLES, Style

OPPOSITE = {"above": "below", "below": "above", "left of": "right of"}


@dataclass(frozen=True, slots=True)
class Query:
    """A text and its meaning: style, things (an empty color or shape is any), relation of the first to the second."""

    text: str
    style: Style | None = None
    things: tuple[Named, ...] = ()
    relation: str | None = None


def holds(query: Query, style: Style, seen: Sequence[Seen]) -> bool:
    """Whether the query is true of a picture in this style with these things, given from left to right."""
    if query.style is not None and query.style != style:
        return False
    if not all(any(_matches(wanted, thing.named) for thing in seen) for wanted in query.things):
        return False
    if query.relation is None:
        return True
    first, second = query.things[:2]
    related = (pair for pair, words in _relations(seen).items() if query.relation in words)
    return any(_matches(first, left) and _matches(second, right) for left, right in related)


def true_query(rng: np.random.Generator, style: Style, seen: Sequence[Seen]) -> Query:
    """A query that holds for the picture, in a random form."""
    if not seen:
        return Query(article(style), style)
    thing = seen[int(rng.integers(len(seen)))].named
    draw = rng.random()
    if draw < 0.3:
        return Query((article(str(thing)) if rng.random() < 0.8 else str(thing)), None, (thing,))
    if draw < 0.38:
        return Query(article(thing.shape) if rng.random() < 0.6 else thing.shape, None, (Named("", thing.shape),))
    if draw < 0.46:
        return Query(thing.color, None, (Named(thing.color, ""),))
    if draw < 0.52:
        return Query(article(style) if rng.random() < 0.6 else style, style)
    if draw < 0.58:
        return Query(f"{article(style)} of {article(thing.shape)}", style, (Named("", thing.shape),))
    if draw < 0.68:
        return Query(f"{article(style)} of {article(str(thing))}", style, (thing,))
    if draw < 0.84 or len(seen) < 2:
        return few_query(rng, style if rng.random() < 0.4 else None, [other.named for other in seen])
    return relation_query(rng, seen)


def few_query(rng: np.random.Generator, style: Style | None, things: Sequence[Named]) -> Query:
    """Some of the things, in their order, some without their color."""
    count = int(rng.integers(1, len(things) + 1))
    chosen = tuple(_vaguer(rng, things[i]) for i in sorted(rng.permutation(len(things))[:count]))
    return list_query(style, chosen)


def list_query(style: Style | None, things: tuple[Named, ...]) -> Query:
    """A list such as "a red circle and a blue square", after "a photo of" if there is a style."""
    return Query(f"{article(style)} of {join(things)}" if style else join(things), style, things)


def relation_query(rng: np.random.Generator, seen: Sequence[Seen]) -> Query:
    """A relation such as "a red circle above a blue square", of any two of at least two things, in either order."""
    pairs = _relations(seen)
    keys = list(pairs)
    first, second = keys[int(rng.integers(len(keys)))]
    return stands(_vaguer(rng, first), pairs[first, second][0], _vaguer(rng, second))


def stands(first: Named, relation: str, second: Named) -> Query:
    """The query for a relation between two things."""
    text = f"{article(str(first))} {relation} {article(str(second))}"
    return Query(text, None, (first, second), relation)


def seen_from_truth(
    colors: Iterable[int], shapes: Iterable[int], x: Iterable[float], y: Iterable[float], visible: Iterable[float]
) -> list[Seen]:
    """The things that a caption names, from a row of the corpus (-1 where there is no thing)."""
    names = tuple(COLORS)
    seen = [
        Seen(Named(names[color], SHAPES[shape]), float(across), float(down))
        for color, shape, across, down, share in zip(colors, shapes, x, y, visible, strict=True)
        if color >= 0 and share >= LEAST_NAMED_SHARE
    ]
    return sorted(seen, key=lambda thing: thing.x)


def other_style(style: Style) -> Style:
    """The other of the two styles."""
    return STYLES[1 - STYLES.index(style)]


def absent(rng: np.random.Generator, seen: Sequence[Seen]) -> Named:
    """A thing that is not in the picture; two times in three it shares color or shape with one in it."""
    there = {thing.named for thing in seen}
    near = [Named(color, thing.named.shape) for thing in seen for color in COLORS]
    near += [Named(thing.named.color, shape) for thing in seen for shape in SHAPES]
    every = [Named(color, shape) for color in COLORS for shape in SHAPES]
    choices = [kind for kind in (near if near and rng.random() < 0.67 else every) if kind not in there]
    return choices[int(rng.integers(len(choices)))]


def _vaguer(rng: np.random.Generator, named: Named) -> Named:
    """The thing, without its color one time in seven."""
    return Named("", named.shape) if rng.random() < 1 / 7 else named


def _matches(wanted: Named, named: Named) -> bool:
    return wanted.color in ("", named.color) and wanted.shape in ("", named.shape)


def _relations(seen: Sequence[Seen]) -> dict[tuple[Named, Named], tuple[str, ...]]:
    """The words for the relation of every two things, in both orders."""
    relations: dict[tuple[Named, Named], tuple[str, ...]] = {}
    for left, right in combinations(seen, 2):
        word = relation_of(left, right)
        relations[left.named, right.named] = (word,)
        relations[right.named, left.named] = (OPPOSITE[word],)
    return relations
