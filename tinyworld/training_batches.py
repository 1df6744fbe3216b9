"""Batches for the joint training: pictures from the corpus, and texts that are true or false of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinyworld.captions import Description, Named, Seen, description_of, false_descriptions
from tinyworld.corpus import SIZE, Corpus, View
from tinyworld.patch_truth import augmented_pictures, scene_truth
from tinyworld.queries import Query, absent, few_query, holds, list_query, seen_from_truth, stands, true_query
from tinyworld.scenes import STYLES, Style
from tinyworld.tower import TOP, Geometry

HEADROOM = TOP * Geometry().patch
"""Rows of padding above a 4:3 picture in the full square."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a picture: its style, and the things that a caption names, from left to right."""

    style: Style
    seen: tuple[Seen, ...]

    @property
    def description(self) -> Description:
        return description_of(self.style, self.seen)

    def named(self) -> list[Named]:
        """The names of the things."""
        return [thing.named for thing in self.seen]


def facts_at(view: View, row: int, *, flipped: bool = False) -> Facts:
    """The facts of one picture of a view."""
    x = np.asarray(view.x[row])
    seen = seen_from_truth(view.colors[row], view.shapes[row], 1 - x if flipped else x, view.y[row], view.visible[row])
    return Facts(STYLES[int(view.styles[row])], tuple(seen))


def facts_of_crop(corpus: Corpus, row: int) -> Facts:
    """The facts of the crop around one thing: the thing alone."""
    thing = int(corpus.crop_things[row])
    middle = [0.5]
    seen = seen_from_truth([corpus.a.colors[row, thing]], [corpus.a.shapes[row, thing]], middle, middle, [1.0])
    return Facts(STYLES[int(corpus.a.styles[row])], tuple(seen))


def views_batch(
    corpus: Corpus, rng: np.random.Generator, scenes: int, views: Sequence[View], *, square: bool
) -> tuple[Tensor, list[Facts], dict[str, Tensor]]:
    """Pictures of the same scenes in each of the views, one view after the other, with their facts and patch truth.

    A scene is mirrored in all views or in none. With `square` the pictures are padded as at inference.
    """
    rows = np.sort(rng.choice(len(corpus), scenes, replace=False))
    flips = rng.random(scenes) < 0.5
    images = np.concatenate([augmented_pictures(view, rows, flips, rng) for view in views])
    facts = [facts_at(view, row, flipped=flip) for view in views for row, flip in zip(rows, flips, strict=True)]
    truths = [scene_truth(view, rows, flips) for view in views]
    truth = {name: torch.cat([each[name] for each in truths]) for name in truths[0]}
    return torch.from_numpy(pad_to_square(images) if square else images), facts, truth


def crops_batch(corpus: Corpus, rng: np.random.Generator, count: int) -> tuple[Tensor, list[Facts]]:
    """Crops around single things, already square."""
    rows = np.sort(rng.choice(np.flatnonzero(corpus.crop_things >= 0), count, replace=False))
    light = rng.uniform(0.92, 1.08, (count, 1, 1, 3)).astype(np.float32)
    images: np.ndarray = np.asarray(corpus.crops[rows]).astype(np.float32)
    images = np.where(images == 128, 127.5, np.minimum(images * light, 255)) / 127.5 - 1
    images = np.where((rng.random(count) < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    facts = [facts_of_crop(corpus, row) for row in rows]
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)), facts


def pad_to_square(images: np.ndarray) -> np.ndarray:
    """4:3 pictures centered in the square, with zeros above and below."""
    square = np.zeros((len(images), 3, SIZE, SIZE), np.float32)
    square[:, :, HEADROOM : SIZE - HEADROOM] = images
    return square


def false_text(rng: np.random.Generator, facts: Facts, others: Sequence[Facts]) -> str:
    """A text that is false of the picture: its caption with one change, another picture's caption, or a query."""
    draw = rng.random()
    if draw < 0.5:
        wrong = false_descriptions(rng, facts.description)
        return str(wrong[int(rng.integers(len(wrong)))])
    for _ in range(10):
        other = others[int(rng.integers(len(others)))]
        if draw < 0.65 and other.description != facts.description:
            return str(other.description)
        query = near_query(rng, facts) if draw > 0.75 else true_query(rng, other.style, other.seen)
        if not holds(query, facts.style, facts.seen):
            return query.text
    return list_query(None, (absent(rng, facts.seen),)).text


def near_query(rng: np.random.Generator, facts: Facts) -> Query:
    """A query that nearly holds: an absent thing among present ones, or a relation that may be wrong."""
    named = facts.named()
    if len(named) > 1 and rng.random() < 0.4:
        first, second = (named[i] for i in rng.permutation(len(named))[:2])
        words = ("above", "below", "left of", "right of")
        return stands(first, words[int(rng.integers(4))], second)
    things = list(few_query(rng, None, named).things) if named and rng.random() < 0.6 else []
    things.insert(int(rng.integers(len(things) + 1)), absent(rng, facts.seen))
    return list_query(facts.style if rng.random() < 0.3 else None, tuple(things))


def growing_texts(rng: np.random.Generator, facts: Facts) -> tuple[str, str, str] | None:
    """A true text, the same with a further true thing, and the same with a false thing instead.

    None for pictures of fewer than two things. The thing is added to the list, or after a comma, as a region's caption
    is.
    """
    named = facts.named()
    if len(named) < 2:
        return None
    order = [named[i] for i in rng.permutation(len(named))]
    count = int(rng.integers(1, len(named)))
    style = facts.style if rng.random() < 0.6 else None
    base, more, wrong = tuple(order[:count]), order[count], absent(rng, facts.seen)
    text = list_query(style, base).text
    if rng.random() < 0.4:
        tails = [list_query(None, (thing,)).text for thing in (more, wrong)]
        return text, f"{text}, {tails[0]}", f"{text}, {tails[1]}"
    return text, list_query(style, (*base, more)).text, list_query(style, (*base, wrong)).text
