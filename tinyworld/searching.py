"""The scenes on which captions and search are judged: never those of a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tinyworld.captions import Description, describe, seen_in
from tinyworld.corpus import rearranged
from tinyworld.examination import STREAM
from tinyworld.lessons import Sight
from tinyworld.outlines import visible_shares
from tinyworld.render import Rendered, render, sample_camera
from tinyworld.scenes import COLOURS, EVALUATION, SHAPES, STYLES, Scene, Thing, sample_light, sample_scene, with_light

Pair = tuple[Scene, Rendered]
FAR = 0.25
"""Elsewhere means that some thing stands at least a quarter of the frame away: farther than another camera moves it."""
MOST_SINGLES = 80
"""A lone thing has 96 captions only, so not a quarter of 500 different captions can be of one."""


def search_scene(seed: int, number: int) -> Pair:
    """One of the fixed conditions' scenes: 1–4 things in equal shares, half of them `cartoon`."""
    rng = np.random.default_rng([STREAM, 2, seed, number])
    low, high = EVALUATION.search_count
    scene = sample_scene(rng, count=low + number // 2 % (high - low + 1), style=STYLES[number % 2])
    return scene, render(scene, rng=rng)


def sight_of(scene: Scene, rendered: Rendered) -> Sight:
    """What is true of the picture."""
    return Sight(scene.style, tuple(seen_in(scene, rendered)))


def another_view(scene: Scene, seed: int, number: int) -> Rendered:
    """The scene by another camera, under another light, with other noise, another wall behind it."""
    rng = np.random.default_rng([STREAM, 3, seed, number])
    return render(with_light(scene, sample_light(rng, style=scene.style)), camera=sample_camera(rng), rng=rng)


def elsewhere(scene: Scene, rng: np.random.Generator) -> Rendered:
    """The same things elsewhere, seen by another camera."""
    while True:
        other = rearranged(rng, scene)
        moved = [max(abs(a.x - b.x), abs(a.y - b.y)) for a, b in zip(scene.things, other.things, strict=True)]
        if max(moved) >= FAR and allowed(other.things):
            return render(other, camera=sample_camera(rng), rng=rng)


def different_scenes(seed: int, count: int) -> list[Pair]:
    """Scenes with `count` different captions; each second one is one colour, shape or relation away from the one
    before it."""
    found: list[Pair] = []
    captions: set[str] = set()
    singles = 0
    rng = np.random.default_rng([STREAM, 4, seed])
    for number in _numbers():
        scene, rendered = search_scene(seed, number)
        if len(scene.things) == 1 and singles + 2 > MOST_SINGLES:
            continue
        pair = (scene, rendered)
        near = one_away(rng, pair)
        texts = {str(describe(*pair)), str(describe(*near))} if near else set()
        if near is None or len(texts) < 2 or texts & captions:
            continue
        captions |= texts
        singles += 2 * (len(scene.things) == 1)
        found += [pair, near]
        if len(found) >= count:
            return found[:count]
    raise AssertionError("numbers do not end")


def one_away(rng: np.random.Generator, pair: Pair) -> Pair | None:
    """A scene like this one but for one colour, one shape or the relation; None when it cannot be had."""
    scene, rendered = pair
    kind = int(rng.integers(3 if len(scene.things) > 1 else 2))
    if kind == 2:
        return _other_relation(rng, scene, describe(scene, rendered))
    place = int(rng.integers(len(scene.things)))
    thing = scene.things[place]
    new = [replace(thing, colour=c) for c in COLOURS] if kind == 0 else [replace(thing, shape=s) for s in SHAPES]
    kinds = {(other.colour, other.shape) for other in scene.things}
    new = [one for one in new if (one.colour, one.shape) not in kinds]
    things = list(scene.things)
    things[place] = new[int(rng.integers(len(new)))]
    if not allowed(tuple(things)):
        return None
    return _again(rng, replace(scene, things=tuple(things)))


def allowed(things: tuple[Thing, ...]) -> bool:
    """Whether nothing is hidden by more than an evaluation allows."""
    return bool((visible_shares(things) >= 1.0 - EVALUATION.occluded).all())


def _other_relation(rng: np.random.Generator, scene: Scene, description: Description) -> Pair | None:
    """The same things in the same order from left to right, the first two standing otherwise to each other."""
    for _ in range(200):
        other = rearranged(rng, scene)
        places = sorted(range(len(other.things)), key=lambda i: other.things[i].x)
        order = sorted(range(len(scene.things)), key=lambda i: scene.things[i].x)
        things = list(other.things)
        for place, old in zip(places, order, strict=True):
            named = scene.things[old]
            things[place] = replace(things[place], colour=named.colour, shape=named.shape)
        if not allowed(tuple(things)):
            continue
        pair = _again(rng, replace(other, things=tuple(things)))
        found = describe(*pair)
        if found.things == description.things and found.relation != description.relation:
            return pair
    return None


def _again(rng: np.random.Generator, scene: Scene) -> Pair:
    lit = with_light(scene, sample_light(rng, style=scene.style))
    return lit, render(lit, rng=rng)


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1
