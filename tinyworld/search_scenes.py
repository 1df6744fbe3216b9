"""The scenes on which captions and search are evaluated, none of which is a training scene."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from tinyworld.captions import Description, describe, seen_in
from tinyworld.corpus import rearranged
from tinyworld.evaluation_scenes import STREAM
from tinyworld.outlines import visible_shares
from tinyworld.render import Rendered, render, sample_camera
from tinyworld.scenes import COLORS, EVALUATION, SHAPES, STYLES, Scene, Thing, sample_light, sample_scene, with_light
from tinyworld.training_batches import Facts

Pair = tuple[Scene, Rendered]
FAR = 0.25
"""At least one thing moves by a quarter of the frame: more than another camera shifts it."""
MOST_SINGLES = 80
"""A single thing has only 96 captions, so a quarter of 500 different captions cannot be of one thing."""


def search_scene(seed: int, number: int) -> Pair:
    """A scene under the fixed conditions: 1–4 things in equal shares, half of the scenes `cartoon`."""
    rng = np.random.default_rng([STREAM, 2, seed, number])
    low, high = EVALUATION.search_count
    scene = sample_scene(rng, count=low + number // 2 % (high - low + 1), style=STYLES[number % 2])
    return scene, render(scene, rng=rng)


def facts_of(scene: Scene, rendered: Rendered) -> Facts:
    """The facts of a picture."""
    return Facts(scene.style, tuple(seen_in(scene, rendered)))


def another_view(scene: Scene, seed: int, number: int) -> Rendered:
    """The scene from another camera, in another light, with other noise and another wall."""
    rng = np.random.default_rng([STREAM, 3, seed, number])
    return render(with_light(scene, sample_light(rng, style=scene.style)), camera=sample_camera(rng), rng=rng)


def elsewhere(scene: Scene, rng: np.random.Generator) -> Rendered:
    """The same things in other places, from another camera."""
    while True:
        other = rearranged(rng, scene)
        moved = [max(abs(a.x - b.x), abs(a.y - b.y)) for a, b in zip(scene.things, other.things, strict=True)]
        if max(moved) >= FAR and allowed(other.things):
            return render(other, camera=sample_camera(rng), rng=rng)


def different_scenes(seed: int, count: int) -> list[Pair]:
    """Scenes with `count` different captions; every second scene has one change (color, shape or relation)."""
    pairs: list[Pair] = []
    captions: set[str] = set()
    singles = 0
    rng = np.random.default_rng([STREAM, 4, seed])
    for number in itertools.count():
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
        pairs += [pair, near]
        if len(pairs) >= count:
            return pairs[:count]
    raise AssertionError("unreachable: there is always another scene")


def one_away(rng: np.random.Generator, pair: Pair) -> Pair | None:
    """The scene with one color, one shape or the relation changed; None if no such scene is allowed."""
    scene, rendered = pair
    kind = int(rng.integers(3 if len(scene.things) > 1 else 2))
    if kind == 2:
        return _other_relation(rng, scene, describe(scene, rendered))
    index = int(rng.integers(len(scene.things)))
    thing = scene.things[index]
    new = [replace(thing, color=c) for c in COLORS] if kind == 0 else [replace(thing, shape=s) for s in SHAPES]
    kinds = {(other.color, other.shape) for other in scene.things}
    new = [other for other in new if (other.color, other.shape) not in kinds]
    things = list(scene.things)
    things[index] = new[int(rng.integers(len(new)))]
    if not allowed(tuple(things)):
        return None
    return _rendered(rng, replace(scene, things=tuple(things)))


def allowed(things: tuple[Thing, ...]) -> bool:
    """Whether no thing is hidden more than an evaluation allows."""
    return bool((visible_shares(things) >= 1.0 - EVALUATION.occluded).all())


def _other_relation(rng: np.random.Generator, scene: Scene, description: Description) -> Pair | None:
    """The same things in the same order from left to right, with another relation between the first two."""
    for _ in range(200):
        other = rearranged(rng, scene)
        slots = sorted(range(len(other.things)), key=lambda i: other.things[i].x)
        order = sorted(range(len(scene.things)), key=lambda i: scene.things[i].x)
        things = list(other.things)
        for slot, old in zip(slots, order, strict=True):
            named = scene.things[old]
            things[slot] = replace(things[slot], color=named.color, shape=named.shape)
        if not allowed(tuple(things)):
            continue
        pair = _rendered(rng, replace(other, things=tuple(things)))
        changed = describe(*pair)
        if changed.things == description.things and changed.relation != description.relation:
            return pair
    return None


def _rendered(rng: np.random.Generator, scene: Scene) -> Pair:
    lit = with_light(scene, sample_light(rng, style=scene.style))
    return lit, render(lit, rng=rng)
