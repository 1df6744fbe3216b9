"""Draws right and wrong answers of the tiny models for the README.

python -m tinyworld.gallery
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from processors.models.blip import Blip
from processors.models.clip import Clip
from tinyworld.captions import describe
from tinyworld.evaluate_search import CHECKPOINTS, in_lists
from tinyworld.publish import in_batches
from tinyworld.queries import Query, holds
from tinyworld.render import Image
from tinyworld.search_scenes import facts_of, search_scene
from tinyworld.training_batches import near_query

FOLDER = Path(__file__).parent / "pictures"
SEED, SCENES, QUERIES = 40, 240, 120
RIGHT, WRONG, INK = (20, 120, 40), (190, 30, 30), (30, 30, 30)
CELL, TEXT_HEIGHT = (213, 160), 58
"""Width and height of a picture in the sheet, and the height of the text below it."""


def cell(image: Image, lines: Sequence[tuple[str, tuple[int, int, int]]]) -> Image:
    """A small picture above lines of text, each with its color."""
    sheet = np.full((CELL[1] + TEXT_HEIGHT, CELL[0], 3), 255, np.uint8)
    sheet[: CELL[1]] = cv2.resize(image, CELL, interpolation=cv2.INTER_AREA)
    row = CELL[1] + 10
    for text, color in lines:
        for line in textwrap.wrap(text, 44):
            cv2.putText(sheet, line, (3, row), cv2.FONT_HERSHEY_SIMPLEX, 0.3, color, 1, cv2.LINE_AA)
            row += 11
    return sheet


def sheet(path: Path, cells: Sequence[Image], columns: int = 4) -> None:
    """Write the cells, in rows, as a JPEG."""
    blank = np.full_like(cells[0], 255)
    filled = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [np.concatenate(filled[first : first + columns], axis=1) for first in range(0, len(filled), columns)]
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def captions() -> None:
    """Four right captions, and up to eight wrong ones with the truth below."""
    scenes = [search_scene(SEED, number) for number in range(SCENES)]
    predicted = in_lists(Blip.load(CHECKPOINTS / "blip").caption, [rendered.image for _, rendered in scenes])
    right, wrong = [], []
    for pair, text in zip(scenes, predicted, strict=True):
        truth = str(describe(*pair))
        if text == truth:
            right.append(cell(pair[1].image, [(text, RIGHT)]))
        else:
            wrong.append(cell(pair[1].image, [(text, WRONG), (truth, INK)]))
    sheet(FOLDER / "captions.jpg", [*right[4:8], *wrong[:8]])


def searches() -> None:
    """Queries with their best picture: up to eight right ones, then up to four wrong ones that had a right picture."""
    clip = Clip.load(CHECKPOINTS / "clip")
    scenes = [search_scene(SEED, number) for number in range(SCENES)]
    facts = [facts_of(*pair) for pair in scenes]
    rng = np.random.default_rng(SEED)
    queries: list[Query] = [near_query(rng, facts[number]) for number in range(QUERIES)]
    seen = in_batches(clip.embed_images, [rendered.image for _, rendered in scenes])
    cosines = clip.embed_texts([query.text for query in queries]) @ seen.T
    right: list[Image] = []
    wrong: list[Image] = []
    for query, row in zip(queries, cosines, strict=True):
        if len(query.things) < 2 or not any(holds(query, each.style, each.seen) for each in facts):
            continue
        best = int(row.argmax())
        true = holds(query, facts[best].style, facts[best].seen)
        (right if true else wrong).append(cell(scenes[best][1].image, [(query.text, RIGHT if true else WRONG)]))
    sheet(FOLDER / "searches.jpg", [*right[:8], *wrong[:4]])


if __name__ == "__main__":
    captions()
    searches()
