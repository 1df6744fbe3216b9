"""The queries of `bench/search.py`, drawn from what is true of its pictures: with negatives, present, and absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyworld.captions import Named, article
from tinyworld.queries import Query, few_query, holds, list_query, relation_query
from tinyworld.training_batches import Facts, near_query

FORMS = ("{}, but no {}", "{} without {}", "{} -{}", "{}, not {}", "{} with no {}", "{} except {}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame in the index and what is true of it."""

    id: str
    sight: Facts


@dataclass(frozen=True, slots=True)
class Negative:
    """A query with negatives; the pictures that fit, and those that would but for a negative."""

    text: str
    wanted: str
    allowed: frozenset[str]
    forbidden: frozenset[str]


def negatives(rng: np.random.Generator, pictures: Sequence[Picture], count: int) -> list[Negative]:
    """Queries that some pictures fit and that others would fit but for a negative; every fifth has two negatives."""
    found: dict[str, Negative] = {}
    while len(found) < count:
        made = _negative(rng, pictures, FORMS[len(found) % len(FORMS)], two=len(found) % 5 == 4)
        if made is not None:
            found[made.text] = made
    return list(found.values())


def _negative(rng: np.random.Generator, pictures: Sequence[Picture], form: str, *, two: bool) -> Negative | None:
    wanted = _positive(rng, pictures[int(rng.integers(len(pictures)))].sight)
    fitting = [picture for picture in pictures if holds(wanted, picture.sight.style, picture.sight.seen)]
    refused = [_refused(rng, fitting[int(rng.integers(len(fitting)))].sight) for _ in range(1 + two)]
    bad = frozenset(p.id for p in fitting for term in refused if holds(term, p.sight.style, p.sight.seen))
    good = frozenset(picture.id for picture in fitting) - bad
    if not bad or not good:
        return None
    shown = [f'"{term.text}"' if " -" in form else term.text for term in refused]
    text = form.format(wanted.text, shown[0])
    for term in shown[1:]:
        text += f" -{term}" if " -" in form else f" and no {term}"
    return Negative(text, wanted.text, good, bad)


def _positive(rng: np.random.Generator, sight: Facts) -> Query:
    thing = sight.named()[int(rng.integers(len(sight.seen)))]
    draw = rng.random()
    if draw < 0.4:
        return list_query(None, (thing,))
    if draw < 0.6:
        return Query(article(thing.shape), None, (Named("", thing.shape),))
    if draw < 0.8:
        return Query(f"{article(sight.style)} of {article(thing.shape)}", sight.style, (Named("", thing.shape),))
    return Query(article(sight.style), sight.style)


def _refused(rng: np.random.Generator, sight: Facts) -> Query:
    thing = sight.named()[int(rng.integers(len(sight.seen)))]
    draw = rng.random()
    if draw < 0.45:
        return Query(thing.shape, None, (Named("", thing.shape),))
    if draw < 0.8:
        return Query(str(thing), None, (thing,))
    if draw < 0.9:
        return Query(thing.color, None, (Named(thing.color, ""),))
    return Query(sight.style, sight.style)


def present(rng: np.random.Generator, pictures: Sequence[Picture], count: int) -> list[str]:
    """Queries that hold for some picture, as specific as the absent ones below."""
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[_specific(rng, pictures[int(rng.integers(len(pictures)))].sight).text] = None
    return list(texts)


def absent(
    rng: np.random.Generator, pictures: Sequence[Picture], count: int, elsewhere: Callable[[], Facts]
) -> tuple[list[str], list[str]]:
    """Queries that hold for no picture: half one word away from a scene that is there, half of scenes elsewhere."""
    near = _absent(pictures, count // 2, lambda: near_query(rng, pictures[int(rng.integers(len(pictures)))].sight))
    far = _absent(pictures, count - count // 2, lambda: _specific(rng, elsewhere()))
    return near, far


def _absent(pictures: Sequence[Picture], count: int, draw: Callable[[], Query]) -> list[str]:
    texts: dict[str, None] = {}
    while len(texts) < count:
        query = draw()
        if not any(holds(query, picture.sight.style, picture.sight.seen) for picture in pictures):
            texts[query.text] = None
    return list(texts)


def _specific(rng: np.random.Generator, sight: Facts) -> Query:
    if len(sight.seen) > 1 and rng.random() < 0.4:
        return relation_query(rng, sight.seen)
    return few_query(rng, sight.style if rng.random() < 0.3 else None, sight.named())
