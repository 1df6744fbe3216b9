"""Batches for the towers' trainings: pictures from the corpus, and texts that are true or false of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinyworld.captions import Description, Named, Seen, description_of, false_ones
from tinyworld.corpus import SIZE, Corpus, View
from tinyworld.queries import Query, absent, few_query, holds, list_query, seen_from_truth, stands, true_query
from tinyworld.scenes import STYLES, Style
from tinyworld.tower import Geometry
from tinyworld.train_tower import TOP, pictures, scene_truth

HEADROOM = TOP * Geometry().patch
"""Rows of padding above a 4:3 picture in the full square."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is true of a picture: its style and what a caption names, from left to right."""

    style: Style
    seen: tuple[Seen, ...]

    @property
    def description(self) -> Description:
        return description_of(self.style, self.seen)

    def named(self) -> list[Named]:
        """The names alone."""
        return [one.named for one in self.seen]


def sight(view: View, row: int, *, flipped: bool = False) -> Sight:
    """The truth of one picture of a view."""
    x = np.asarray(view.x[row])
    seen = seen_from_truth(view.colours[row], view.shapes[row], 1 - x if flipped else x, view.y[row], view.visible[row])
    return Sight(STYLES[int(view.styles[row])], tuple(seen))


def crop_sight(corpus: Corpus, row: int) -> Sight:
    """The truth of the crop around one thing: the thing alone."""
    thing = int(corpus.crop_things[row])
    x = [0.5]
    whole = seen_from_truth([corpus.a.colours[row, thing]], [corpus.a.shapes[row, thing]], x, x, [1.0])
    return Sight(STYLES[int(corpus.a.styles[row])], tuple(whole))


def views_batch(
    corpus: Corpus, rng: np.random.Generator, scenes: int, views: Sequence[View], *, square: bool
) -> tuple[Tensor, list[Sight], dict[str, Tensor]]:
    """Pictures of the same `scenes` scenes in each of the views, one view after the other, mirrored alike, with what
    is true of them and of their patches; `square`: with the padding that they have at inference."""
    rows = np.sort(rng.choice(len(corpus), scenes, replace=False))
    flips = rng.random(scenes) < 0.5
    images = np.concatenate([pictures(view, rows, flips, rng) for view in views])
    sights = [sight(view, row, flipped=flip) for view in views for row, flip in zip(rows, flips, strict=True)]
    truths = [scene_truth(view, rows, flips) for view in views]
    truth = {name: torch.cat([one[name] for one in truths]) for name in truths[0]}
    return torch.from_numpy(in_square(images) if square else images), sights, truth


def crops_batch(corpus: Corpus, rng: np.random.Generator, count: int) -> tuple[Tensor, list[Sight]]:
    """Crops around single things, already square."""
    rows = np.sort(rng.choice(np.flatnonzero(corpus.crop_things >= 0), count, replace=False))
    light = rng.uniform(0.92, 1.08, (count, 1, 1, 3)).astype(np.float32)
    images: np.ndarray = np.asarray(corpus.crops[rows]).astype(np.float32)
    images = np.where(images == 128, 127.5, np.minimum(images * light, 255)) / 127.5 - 1
    images = np.where((rng.random(count) < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    sights = [crop_sight(corpus, row) for row in rows]
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)), sights


def in_square(images: np.ndarray) -> np.ndarray:
    """4:3 pictures in the middle of the square, zeros above and below."""
    square = np.zeros((len(images), 3, SIZE, SIZE), np.float32)
    square[:, :, HEADROOM : SIZE - HEADROOM] = images
    return square


def false_text(rng: np.random.Generator, one: Sight, others: Sequence[Sight]) -> str:
    """A text that is not true of the picture: a caption with one thing changed, another picture's caption, or a query
    that does not hold."""
    draw = rng.random()
    if draw < 0.5:
        wrong = false_ones(rng, one.description)
        return str(wrong[int(rng.integers(len(wrong)))])
    for _ in range(10):
        other = others[int(rng.integers(len(others)))]
        if draw < 0.65 and other.description != one.description:
            return str(other.description)
        query = near_query(rng, one) if draw > 0.75 else true_query(rng, other.style, other.seen)
        if not holds(query, one.style, one.seen):
            return query.text
    return list_query(None, (absent(rng, one.seen),)).text


def near_query(rng: np.random.Generator, one: Sight) -> Query:
    """A query that nearly holds: an absent thing among present ones, or two things that stand otherwise."""
    named = one.named()
    if len(named) > 1 and rng.random() < 0.4:
        first, second = (named[i] for i in rng.permutation(len(named))[:2])
        words = ("above", "below", "left of", "right of")
        return stands(first, words[int(rng.integers(4))], second)
    few = list(few_query(rng, None, named).things) if named and rng.random() < 0.6 else []
    few.insert(int(rng.integers(len(few) + 1)), absent(rng, one.seen))
    return list_query(one.style if rng.random() < 0.3 else None, tuple(few))


def grown(rng: np.random.Generator, one: Sight) -> tuple[str, str, str] | None:
    """A true text, the same with one more true thing, the same with a false one instead; None for pictures of fewer
    than two things. Things are added as a list goes on, or behind a comma as a segment's caption is."""
    named = one.named()
    if len(named) < 2:
        return None
    order = [named[i] for i in rng.permutation(len(named))]
    count = int(rng.integers(1, len(named)))
    style = one.style if rng.random() < 0.6 else None
    base, more, wrong = tuple(order[:count]), order[count], absent(rng, one.seen)
    text = list_query(style, base).text
    if rng.random() < 0.4:
        tails = [list_query(None, (thing,)).text for thing in (more, wrong)]
        return text, f"{text}, {tails[0]}", f"{text}, {tails[1]}"
    return text, list_query(style, (*base, more)).text, list_query(style, (*base, wrong)).text
