"""What people type into a search box: texts that say less than a caption, and whether they are true of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tinyworld.captions import HALF, Named, Seen, article, join, relation_of
from tinyworld.scenes import COLOURS, SHAPES, STYLES, Style

OPPOSITE = {"above": "below", "below": "above", "left of": "right of"}


@dataclass(frozen=True, slots=True)
class Query:
    """A text and what it asks for: a style, things (an empty colour or shape is any), and how the first stands to
    the second."""

    text: str
    style: Style | None = None
    things: tuple[Named, ...] = ()
    relation: str | None = None


def holds(query: Query, style: Style, seen: Sequence[Seen]) -> bool:
    """Whether the query is true of a picture in this style with these things, given from left to right."""
    if query.style is not None and query.style != style:
        return False
    if not all(any(_matches(wanted, one.named) for one in seen) for wanted in query.things):
        return False
    if query.relation is None:
        return True
    first, second = query.things[:2]
    stands_so = (pair for pair, words in _relations(seen).items() if query.relation in words)
    return any(_matches(first, one) and _matches(second, other) for one, other in stands_so)


def true_query(rng: np.random.Generator, style: Style, seen: Sequence[Seen]) -> Query:
    """A query that holds for the picture, of a form drawn at random."""
    if not seen:
        return Query(article(style), style)
    one = seen[int(rng.integers(len(seen)))].named
    draw = rng.random()
    if draw < 0.3:
        return Query((article(str(one)) if rng.random() < 0.8 else str(one)), None, (one,))
    if draw < 0.38:
        return Query(article(one.shape) if rng.random() < 0.6 else one.shape, None, (Named("", one.shape),))
    if draw < 0.46:
        return Query(one.colour, None, (Named(one.colour, ""),))
    if draw < 0.52:
        return Query(article(style) if rng.random() < 0.6 else style, style)
    if draw < 0.58:
        return Query(f"{article(style)} of {article(one.shape)}", style, (Named("", one.shape),))
    if draw < 0.68:
        return Query(f"{article(style)} of {article(str(one))}", style, (one,))
    if draw < 0.84 or len(seen) < 2:
        return few_query(rng, style if rng.random() < 0.4 else None, [other.named for other in seen])
    return relation_query(rng, seen)


def few_query(rng: np.random.Generator, style: Style | None, things: Sequence[Named]) -> Query:
    """Some of the things, in their order, now and then without their colour."""
    count = int(rng.integers(1, len(things) + 1))
    few = tuple(_vaguer(rng, things[i]) for i in sorted(rng.permutation(len(things))[:count]))
    return list_query(style, few)


def list_query(style: Style | None, things: tuple[Named, ...]) -> Query:
    """ "a red circle and a blue square", behind "a photo of" where a style is given."""
    return Query(f"{article(style)} of {join(things)}" if style else join(things), style, things)


def relation_query(rng: np.random.Generator, seen: Sequence[Seen]) -> Query:
    """ "a red circle above a blue square", of any two of at least two things, either way round."""
    pairs = _relations(seen)
    keys = list(pairs)
    first, second = keys[int(rng.integers(len(keys)))]
    return stands(_vaguer(rng, first), pairs[first, second][0], _vaguer(rng, second))


def stands(first: Named, relation: str, second: Named) -> Query:
    """The query that one thing stands so to another."""
    text = f"{article(str(first))} {relation} {article(str(second))}"
    return Query(text, None, (first, second), relation)


def seen_from_truth(
    colours: Iterable[int], shapes: Iterable[int], x: Iterable[float], y: Iterable[float], visible: Iterable[float]
) -> list[Seen]:
    """What a caption sees, from a corpus' row of truth (-1 where there is no thing)."""
    names = tuple(COLOURS)
    seen = [
        Seen(Named(names[colour], SHAPES[shape]), float(across), float(down))
        for colour, shape, across, down, share in zip(colours, shapes, x, y, visible, strict=True)
        if colour >= 0 and share >= HALF
    ]
    return sorted(seen, key=lambda one: one.x)


def other_style(style: Style) -> Style:
    """The style that this one is not."""
    return STYLES[1 - STYLES.index(style)]


def absent(rng: np.random.Generator, seen: Sequence[Seen]) -> Named:
    """A thing that is not in the picture: two times in three it shares colour or shape with one that is."""
    there = {one.named for one in seen}
    near = [Named(colour, one.named.shape) for one in seen for colour in COLOURS]
    near += [Named(one.named.colour, shape) for one in seen for shape in SHAPES]
    every = [Named(colour, shape) for colour in COLOURS for shape in SHAPES]
    choices = [kind for kind in (near if near and rng.random() < 0.67 else every) if kind not in there]
    return choices[int(rng.integers(len(choices)))]


def _vaguer(rng: np.random.Generator, named: Named) -> Named:
    """The thing, one time in seven without its colour."""
    return Named("", named.shape) if rng.random() < 1 / 7 else named


def _matches(wanted: Named, named: Named) -> bool:
    return wanted.colour in ("", named.colour) and wanted.shape in ("", named.shape)


def _relations(seen: Sequence[Seen]) -> dict[tuple[Named, Named], tuple[str, ...]]:
    """The relations of every two things; one above another and clearly beside it has one word only."""
    found: dict[tuple[Named, Named], tuple[str, ...]] = {}
    for left, right in combinations(seen, 2):
        word = relation_of(left, right)
        found[left.named, right.named] = (word,)
        found[right.named, left.named] = (OPPOSITE[word],)
    return found
