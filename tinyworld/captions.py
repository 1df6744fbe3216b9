"""The language of the miniature world: a caption for every picture, the texts it implies, and texts that are false.

    a cartoon of a red circle and a blue square. the red circle is above the blue square.

The first sentence names the style and every thing at least half seen, from left to right; the second relates
the two leftmost. A caption and a `Description` say the same: each can be made from the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tinyworld.render import Rendered
from tinyworld.scenes import APART, COLOURS, LEVEL, SHAPES, STYLES, Scene, Style

Relation = Literal["above", "below", "left of"]
RELATIONS: tuple[Relation, ...] = ("above", "below", "left of")
HALF = 0.5

_KIND = rf"(?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})"
_FIRST = re.compile(rf"an? (?P<style>{'|'.join(STYLES)}) of (?P<list>[^.]+)\.")
_SECOND = re.compile(rf"the (?P<a>\w+ \w+) is (?P<relation>{'|'.join(RELATIONS)}) the (?P<b>\w+ \w+)\.")


@dataclass(frozen=True, slots=True)
class Named:
    """A thing as a caption speaks of it."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}".strip()


@dataclass(frozen=True, slots=True)
class Description:
    """What a caption says: style, things from left to right, and how the first stands to the second."""

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
    """A thing in a picture as a caption sees it: its name and its middle, x and y in 0..1 of the picture."""

    named: Named
    x: float
    y: float


def caption(scene: Scene, rendered: Rendered) -> str:
    """The picture's one right caption."""
    return str(describe(scene, rendered))


def describe(scene: Scene, rendered: Rendered) -> Description:
    """The structure of the picture's caption."""
    return description_of(scene.style, seen_in(scene, rendered))


def seen_in(scene: Scene, rendered: Rendered) -> list[Seen]:
    """The things a caption names, from left to right; things less than half seen are left out."""
    height, width = rendered.image.shape[:2]
    seen = [
        Seen(Named(thing.colour, thing.shape), float(centre[0]) / width, float(centre[1]) / height)
        for thing, centre, share in zip(scene.things, rendered.centres, rendered.visible, strict=True)
        if share >= HALF
    ]
    return sorted(seen, key=lambda one: one.x)


def description_of(style: Style, seen: Sequence[Seen]) -> Description:
    """The structure of the caption of things that are given from left to right."""
    relation = relation_of(seen[0], seen[1]) if len(seen) > 1 else None
    return Description(style, tuple(one.named for one in seen), relation)


def relation_of(left: Seen, right: Seen) -> Relation:
    """How one thing stands to another further right: by their middles' heights, the border lying between what the
    world calls level and what it calls apart."""
    border = (LEVEL + APART) / 2
    if right.y - left.y > border:
        return "above"
    return "below" if left.y - right.y > border else "left of"


def parse(text: str) -> Description:
    """The structure of a caption. Raises ValueError when the text is not exactly a caption of this world."""
    first = _FIRST.match(text)
    if first is None:
        raise ValueError(f"not a caption: {text!r}")
    style: Style = "cartoon" if first["style"] == "cartoon" else "photo"
    things = tuple(Named(found["colour"], found["shape"]) for found in re.finditer(_KIND, first["list"]))
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
    """A list as people write it; nothing is "nothing"."""
    phrases = [article(str(thing)) for thing in things]
    if len(phrases) < 2:
        return phrases[0] if phrases else "nothing"
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def false_ones(rng: np.random.Generator, description: Description) -> list[Description]:
    """Descriptions of a picture like this one but for one colour, one shape, one relation, one style: in this order,
    those that the description allows (a lone thing has no relation, nothing has no colour). Each is false here."""
    wrong: list[Description] = []
    for change in (_recoloured, _reshaped, _rearranged, _restyled):
        changed = change(rng, description)
        if changed is not None:
            wrong.append(changed)
    return wrong


def _recoloured(rng: np.random.Generator, description: Description) -> Description | None:
    return _exchanged(rng, description, [Named(colour, "") for colour in COLOURS])


def _reshaped(rng: np.random.Generator, description: Description) -> Description | None:
    return _exchanged(rng, description, [Named("", shape) for shape in SHAPES])


def _exchanged(rng: np.random.Generator, description: Description, choices: Sequence[Named]) -> Description | None:
    """One thing becomes another that is not in the picture."""
    if not description.things:
        return None
    place = int(rng.integers(len(description.things)))
    old = description.things[place]
    candidates = [Named(new.colour or old.colour, new.shape or old.shape) for new in choices]
    candidates = [new for new in candidates if new not in description.things]
    things = list(description.things)
    things[place] = candidates[int(rng.integers(len(candidates)))]
    return replace(description, things=tuple(things))


def _rearranged(rng: np.random.Generator, description: Description) -> Description | None:
    if description.relation is None:
        return None
    others = [word for word in RELATIONS if word != description.relation]
    return replace(description, relation=others[int(rng.integers(len(others)))])


def _restyled(rng: np.random.Generator, description: Description) -> Description:
    return replace(description, style=STYLES[1 - STYLES.index(description.style)])
