"""The queries of `bench/search.py`, sampled from the facts of its pictures: with negatives, present, and absent."""

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
    """A frame in the index and its facts."""

    id: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Negative:
    """A query with negatives, the pictures that match, and those that only a negative excludes."""

    text: str
    wanted: str
    allowed: frozenset[str]
    forbidden: frozenset[str]


def negatives(rng: np.random.Generator, pictures: Sequence[Picture], count: int) -> list[Negative]:
    """Queries that some pictures match and a negative excludes others from; every fifth has two negatives."""
    queries: dict[str, Negative] = {}
    while len(queries) < count:
        query = _negative(rng, pictures, FORMS[len(queries) % len(FORMS)], two=len(queries) % 5 == 4)
        if query is not None:
            queries[query.text] = query
    return list(queries.values())


def _negative(rng: np.random.Generator, pictures: Sequence[Picture], form: str, *, two: bool) -> Negative | None:
    wanted = _positive(rng, pictures[int(rng.integers(len(pictures)))].facts)
    matching = [picture for picture in pictures if holds(wanted, picture.facts.style, picture.facts.seen)]
    excluded = [_excluded(rng, matching[int(rng.integers(len(matching)))].facts) for _ in range(1 + two)]
    bad = frozenset(p.id for p in matching for term in excluded if holds(term, p.facts.style, p.facts.seen))
    good = frozenset(picture.id for picture in matching) - bad
    if not bad or not good:
        return None
    shown = [f'"{term.text}"' if " -" in form else term.text for term in excluded]
    text = form.format(wanted.text, shown[0])
    for term in shown[1:]:
        text += f" -{term}" if " -" in form else f" and no {term}"
    return Negative(text, wanted.text, good, bad)


def _positive(rng: np.random.Generator, facts: Facts) -> Query:
    thing = facts.named()[int(rng.integers(len(facts.seen)))]
    draw = rng.random()
    if draw < 0.4:
        return list_query(None, (thing,))
    if draw < 0.6:
        return Query(article(thing.shape), None, (Named("", thing.shape),))
    if draw < 0.8:
        return Query(f"{article(facts.style)} of {article(thing.shape)}", facts.style, (Named("", thing.shape),))
    return Query(article(facts.style), facts.style)


def _excluded(rng: np.random.Generator, facts: Facts) -> Query:
    thing = facts.named()[int(rng.integers(len(facts.seen)))]
    draw = rng.random()
    if draw < 0.45:
        return Query(thing.shape, None, (Named("", thing.shape),))
    if draw < 0.8:
        return Query(str(thing), None, (thing,))
    if draw < 0.9:
        return Query(thing.color, None, (Named(thing.color, ""),))
    return Query(facts.style, facts.style)


def present(rng: np.random.Generator, pictures: Sequence[Picture], count: int) -> list[str]:
    """Queries that hold for a picture, as specific as the absent ones."""
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[_specific(rng, pictures[int(rng.integers(len(pictures)))].facts).text] = None
    return list(texts)


def absent(
    rng: np.random.Generator, pictures: Sequence[Picture], count: int, elsewhere: Callable[[], Facts]
) -> tuple[list[str], list[str]]:
    """Queries that hold for no picture: half of them nearly hold for one, half are of other scenes."""
    near = _absent(pictures, count // 2, lambda: near_query(rng, pictures[int(rng.integers(len(pictures)))].facts))
    far = _absent(pictures, count - count // 2, lambda: _specific(rng, elsewhere()))
    return near, far


def _absent(pictures: Sequence[Picture], count: int, draw: Callable[[], Query]) -> list[str]:
    texts: dict[str, None] = {}
    while len(texts) < count:
        query = draw()
        if not any(holds(query, picture.facts.style, picture.facts.seen) for picture in pictures):
            texts[query.text] = None
    return list(texts)


def _specific(rng: np.random.Generator, facts: Facts) -> Query:
    if len(facts.seen) > 1 and rng.random() < 0.4:
        return relation_query(rng, facts.seen)
    return few_query(rng, facts.style if rng.random() < 0.3 else None, facts.named())
