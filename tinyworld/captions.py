"""The language of the miniature world: the caption of every picture, and captions that are false.

    a cartoon of a red circle and a blue square. the red circle is above the blue square.

The first sentence names the style and every thing that is at least half visible, from left to right. The second relates
the two leftmost things. A caption and a `Description` are equivalent: each can be made from the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tinyworld.render import Rendered
from tinyworld.scenes import APART, COLORS, LEVEL, SHAPES, STYLES, Scene, Style

Relation = Literal["above", "below", "left of"]
RELATIONS: tuple[Relation, ...] = ("above", "below", "left of")
LEAST_NAMED_SHARE = 0.5
"""Captions name things of which at least this share is visible."""

_KIND = rf"(?P<color>{'|'.join(COLORS)}) (?P<shape>{'|'.join(SHAPES)})"
_FIRST = re.compile(rf"an? (?P<style>{'|'.join(STYLES)}) of (?P<list>[^.]+)\.")
_SECOND = re.compile(rf"the (?P<a>\w+ \w+) is (?P<relation>{'|'.join(RELATIONS)}) the (?P<b>\w+ \w+)\.")


@dataclass(frozen=True, slots=True)
class Named:
    """A thing as a caption names it."""

    color: str
    shape: str

    def __str__(self) -> str:
        return f"{self.color} {self.shape}".strip()


@dataclass(frozen=True, slots=True)
class Description:
    """What a caption says: style, things from left to right, and the relation of the first to the second."""

    style: Style
    things: tuple[Named, ...]
    relation: Relation | None = None

    def __str__(self) -> str:
        first = f"{article(self.style)} of {join(self.things)}."
        if self.relation is None:
            return first
        return f"{first} the {self.things[0]} is {self.relation} the {self.things[1]}."


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing that captions name: its name, and its center x and y in 0..1 of the picture."""

    named: Named
    x: float
    y: float


def caption(scene: Scene, rendered: Rendered) -> str:
    """The one correct caption of the picture."""
    return str(describe(scene, rendered))


def describe(scene: Scene, rendered: Rendered) -> Description:
    """The structure of the picture's caption."""
    return description_of(scene.style, seen_in(scene, rendered))


def seen_in(scene: Scene, rendered: Rendered) -> list[Seen]:
    """The things that a caption names, from left to right; things less than half visible are left out."""
    height, width = rendered.image.shape[:2]
    seen = [
        Seen(Named(thing.color, thing.shape), float(center[0]) / width, float(center[1]) / height)
        for thing, center, share in zip(scene.things, rendered.centers, rendered.visible, strict=True)
        if share >= LEAST_NAMED_SHARE
    ]
    return sorted(seen, key=lambda thing: thing.x)


def description_of(style: Style, seen: Sequence[Seen]) -> Description:
    """The structure of the caption of things given from left to right."""
    relation = relation_of(seen[0], seen[1]) if len(seen) > 1 else None
    return Description(style, tuple(thing.named for thing in seen), relation)


def relation_of(left: Seen, right: Seen) -> Relation:
    """The relation of a thing to another on its right: by the heights of their centers.

    The border lies between the differences that count as level and those that count as apart.
    """
    border = (LEVEL + APART) / 2
    if right.y - left.y > border:
        return "above"
    return "below" if left.y - right.y > border else "left of"


def parse(text: str) -> Description:
    """The structure of a caption. Raises ValueError if the text is not exactly a caption of this world."""
    first = _FIRST.match(text)
    if first is None:
        raise ValueError(f"not a caption: {text!r}")
    style: Style = "cartoon" if first["style"] == "cartoon" else "photo"
    things = tuple(Named(match["color"], match["shape"]) for match in re.finditer(_KIND, first["list"]))
    second = _SECOND.match(text[first.end() :].strip())
    relation = next((word for word in RELATIONS if second and second["relation"] == word), None)
    description = Description(style, things, relation)
    if (len(things) < 2 and relation) or str(description) != text:
        raise ValueError(f"not a caption: {text!r}")
    return description


def article(phrase: str) -> str:
    """The phrase with its indefinite article."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def join(things: Sequence[Named]) -> str:
    """A list as people write it; the empty list is "nothing"."""
    phrases = [article(str(thing)) for thing in things]
    if len(phrases) < 2:
        return phrases[0] if phrases else "nothing"
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def false_descriptions(rng: np.random.Generator, description: Description) -> list[Description]:
    """Descriptions with one change each, in this order: color, shape, relation, style. Each is false of the picture.

    A change that the description does not allow is left out: a single thing has no relation, an empty scene no color.
    """
    changed: list[Description] = []
    for change in (_recolored, _reshaped, _rearranged, _restyled):
        other = change(rng, description)
        if other is not None:
            changed.append(other)
    return changed


def _recolored(rng: np.random.Generator, description: Description) -> Description | None:
    return _exchanged(rng, description, [Named(color, "") for color in COLORS])


def _reshaped(rng: np.random.Generator, description: Description) -> Description | None:
    return _exchanged(rng, description, [Named("", shape) for shape in SHAPES])


def _exchanged(rng: np.random.Generator, description: Description, choices: Sequence[Named]) -> Description | None:
    """The description with one thing replaced by another that is not in the picture."""
    if not description.things:
        return None
    index = int(rng.integers(len(description.things)))
    old = description.things[index]
    candidates = [Named(new.color or old.color, new.shape or old.shape) for new in choices]
    candidates = [new for new in candidates if new not in description.things]
    things = list(description.things)
    things[index] = candidates[int(rng.integers(len(candidates)))]
    return replace(description, things=tuple(things))


def _rearranged(rng: np.random.Generator, description: Description) -> Description | None:
    if description.relation is None:
        return None
    others = [word for word in RELATIONS if word != description.relation]
    return replace(description, relation=others[int(rng.integers(len(others)))])


def _restyled(rng: np.random.Generator, description: Description) -> Description:
    return replace(description, style=STYLES[1 - STYLES.index(description.style)])
