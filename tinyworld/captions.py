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
        return f"{self.colour} {self.shape}"


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


def caption(scene: Scene, rendered: Rendered) -> str:
    """The picture's one right caption."""
    return str(describe(scene, rendered))


def describe(scene: Scene, rendered: Rendered) -> Description:
    """The structure of the picture's caption; things less than half seen are left out."""
    order = named_order(rendered)
    things = tuple(Named(scene.things[i].colour, scene.things[i].shape) for i in order)
    return Description(scene.style, things, relation_of(rendered, order[0], order[1]) if len(order) > 1 else None)


def named_order(rendered: Rendered) -> list[int]:
    """Indexes of the things a caption names, from left to right by the middle of the silhouette."""
    seen = [index for index in range(len(rendered.visible)) if rendered.visible[index] >= HALF]
    return sorted(seen, key=lambda index: (float(rendered.centres[index, 0]), index))


def relation_of(rendered: Rendered, left: int, right: int) -> Relation:
    """How thing `left` stands to thing `right` (which must not be further left): by their middles' heights, the
    border lying between what the world calls level and what it calls apart."""
    rise = float(rendered.centres[right, 1] - rendered.centres[left, 1]) / rendered.image.shape[0]
    border = (LEVEL + APART) / 2
    if rise > border:
        return "above"
    return "below" if rise < -border else "left of"


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


def partial(rng: np.random.Generator, description: Description, rendered_relations: Sequence[str] = ()) -> str:
    """A true text that says less than the caption: as people type it into a search box. `rendered_relations` are
    further true phrases ("a red circle above a blue square") that may be taken too."""
    things = list(description.things)
    if not things:
        return article(description.style) if rng.random() < 0.5 else str(description)
    thing = things[int(rng.integers(len(things)))]
    few = [things[i] for i in sorted(rng.permutation(len(things))[: int(rng.integers(1, len(things) + 1))])]
    forms = [
        article(str(thing)),
        article(str(thing)),
        str(thing),
        article(thing.shape),
        thing.shape,
        thing.colour,
        description.style,
        article(description.style),
        f"{article(description.style)} of {article(thing.shape)}",
        f"{article(description.style)} of {article(str(thing))}",
        join(few),
        join(few),
        f"{article(description.style)} of {join(few)}",
        *rendered_relations,
        *rendered_relations,
    ]
    return forms[int(rng.integers(len(forms)))]


def relation_phrases(scene: Scene, rendered: Rendered) -> list[str]:
    """All true phrases "a red circle above a blue square", both ways round, "right of" included, of clear pairs."""
    order = named_order(rendered)
    opposite = {"above": "below", "below": "above", "left of": "right of"}
    phrases = []
    for place, left in enumerate(order):
        for right in order[place + 1 :]:
            a, b = (article(f"{scene.things[i].colour} {scene.things[i].shape}") for i in (left, right))
            word = relation_of(rendered, left, right)
            phrases += [f"{a} {word} {b}", f"{b} {opposite[word]} {a}"]
    return phrases


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
