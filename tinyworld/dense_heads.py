"""Linear heads on a tower that predict what every patch shows: the labels that teach the tower."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinyworld.captions import RELATIONS
from tinyworld.corpus import MOST
from tinyworld.scenes import COLORS, SHAPES
from tinyworld.tower import Tower

RELATION_CLASSES = len(RELATIONS) + 1
"""Each relation, and none for the rightmost thing."""
BACKGROUND_WEIGHT = 0.1


class DenseHeads(nn.Module):
    """Heads on a tower.

    For each patch: shape and color of its thing, the way from the patch to the thing's center, the center itself, how
    many named things are further left, and the relation to the next thing on the right, as captions say it. On token 0:
    which color-and-shape pairs are in the picture, and its style.

    The modules' attribute names are keys of saved trainings.
    """

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        width = tower.geometry.width
        self.tower = tower
        self.shape, self.colour = nn.Linear(width, len(SHAPES) + 1), nn.Linear(width, len(COLORS) + 1)
        self.way = nn.Linear(width, 2)
        self.place, self.rank = nn.Linear(width, 2), nn.Linear(width, MOST + 1)
        self.next = nn.Linear(width, RELATION_CLASSES + 1)
        self.kinds, self.style = nn.Linear(width, len(SHAPES) * len(COLORS)), nn.Linear(width, 1)

    def losses(self, tokens: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """The weighted sum of all losses; `tokens` are the tower's after its norm."""
        patches, first = tokens[:, 1:], tokens[:, 0]
        shape, color = self.shape(patches), self.colour(patches)
        loss = cross_entropy(shape, truth["shape"]) + 0.5 * cross_entropy(color, truth["color"])
        there = (truth["shape"] < len(SHAPES)).float()[..., None]
        way = self.way(patches).float()
        loss = loss + 2.0 * ((way - truth["way"]).abs() * there).sum() / there.sum().clamp(min=1)
        if "rank" in truth:
            place = ((self.place(patches).float() - truth["place"]).abs() * there).sum() / there.sum().clamp(min=1)
            loss = loss + 2.0 * place
            rank, following = self.rank(patches), self.next(patches)
            loss = loss + 0.7 * cross_entropy(rank, truth["rank"]) + 1.5 * cross_entropy(following, truth["next"])
        if "kinds" in truth:
            kinds = functional.binary_cross_entropy_with_logits(self.kinds(first).float(), truth["kinds"])
            style = functional.binary_cross_entropy_with_logits(self.style(first).float()[:, 0], truth["style"])
            loss = loss + 4.0 * kinds + 0.2 * style
        total: Tensor = loss
        return total


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy over patches; the background, which is the last class, weighs a tenth."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-1] = BACKGROUND_WEIGHT
    return functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten().long(), weight)
