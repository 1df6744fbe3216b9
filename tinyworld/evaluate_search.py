"""Figures of captions, search and similarity, measured on the stored files through Sightline's own adapters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from processors.models.blip import Blip
from processors.models.clip import Clip
from processors.models.itm import Itm
from processors.models.vit import Vit
from search import calibrate
from tinyworld.captions import Description, Named, describe
from tinyworld.corpus import crop
from tinyworld.evaluation_scenes import STREAM
from tinyworld.publish import in_batches
from tinyworld.render import Image
from tinyworld.search_scenes import another_view, different_scenes, elsewhere, facts_of, search_scene
from tinyworld.training_batches import growing_texts

CHECKPOINTS = Path(__file__).parent / "checkpoints"
BATCH = 32
RERANKED = 50
SAME_THINGS = 100
"""Distractors of each picture that show its own things elsewhere."""

Figures = dict[str, Any]
Vectors = npt.NDArray[np.float32]


def evaluate(seed: int, scenes: int) -> Figures:
    """All figures over `scenes` scenes, also by number of things and for random weights."""
    blip, clip = Blip.load(CHECKPOINTS / "blip"), Clip.load(CHECKPOINTS / "clip")
    itm, vit = Itm.load(CHECKPOINTS / "blip_itm"), Vit.load(CHECKPOINTS / "vit")
    for model in (blip, clip, itm, vit):
        model.check_reference()
    few = max(scenes // 10, 20)
    figures = captions(blip, seed, scenes) | crop_captions(blip, seed, scenes)
    figures |= monotone(clip, seed, scenes) | text_to_image(clip, itm, seed, scenes) | same_scene(vit, seed, few)
    for model in (blip, clip, itm, vit):
        randomize(model)
    untrained = captions(blip, seed, few) | crop_captions(blip, seed, few) | monotone(clip, seed, scenes)
    untrained |= text_to_image(clip, itm, seed, few) | same_scene(vit, seed, 20)
    plain = {f"{name}_random": value for name, value in untrained.items() if isinstance(value, float)}
    return figures | {name: value for name, value in plain.items() if not name.startswith("visual_same_scene_pixels")}


def captions(blip: Blip, seed: int, scenes: int) -> Figures:
    """`caption_exact`: the share of pictures whose caption is exactly right."""
    pairs = [search_scene(seed, number) for number in range(scenes)]
    predicted = in_lists(blip.caption, [rendered.image for _, rendered in pairs])
    right = [text == str(describe(*pair)) for text, pair in zip(predicted, pairs, strict=True)]
    return shares("caption_exact", right, [len(scene.things) for scene, _ in pairs])


def crop_captions(blip: Blip, seed: int, scenes: int) -> Figures:
    """`crop_caption_exact`: the same for crops around one thing each."""
    rng = np.random.default_rng([STREAM, 5, seed])
    pictures, truth, counts = [], [], []
    for number in range(scenes):
        scene, rendered = search_scene(seed, number)
        index = int(rng.integers(len(scene.things)))
        thing = scene.things[index]
        pictures.append(crop(rendered, index))
        truth.append(str(Description(scene.style, (Named(thing.color, thing.shape),))))
        counts.append(len(scene.things))
    predicted = in_lists(blip.caption, pictures)
    return shares("crop_caption_exact", [a == b for a, b in zip(predicted, truth, strict=True)], counts)


def monotone(clip: Clip, seed: int, scenes: int) -> Figures:
    """`clip_monotone`: the share of texts that a true thing moves nearer to the picture and a false one farther."""
    rng = np.random.default_rng([STREAM, 6, seed])
    pairs = [search_scene(seed, number) for number in range(scenes)]
    seen = in_batches(clip.embed_images, [rendered.image for _, rendered in pairs])
    triples = [
        (row, made) for row, pair in enumerate(pairs) if (made := growing_texts(rng, facts_of(*pair))) is not None
    ]
    vectors = clip.embed_texts([text for _, made in triples for text in made]).reshape(len(triples), 3, -1)
    cosines = np.einsum("nkd,nd->nk", vectors, seen[[row for row, _ in triples]])
    up, down = cosines[:, 1] > cosines[:, 0], cosines[:, 2] < cosines[:, 0]
    counts = [len(pairs[row][0].things) for row, _ in triples]
    more = {"clip_monotone_true_raises": float(up.mean()), "clip_monotone_false_lowers": float(down.mean())}
    return shares("clip_monotone", list(up & down), counts) | more


def text_to_image(clip: Clip, itm: Itm, seed: int, scenes: int) -> Figures:
    """`text_to_image_r1` among scenes with different captions, half of them one word away from another.

    `itm_r1` is the same after the first 50 are scored by the matching head and ordered as the search does, by the curve
    `matched` of the calibration; `itm_alone_r1` orders by the head's log-odds alone.
    """
    pairs = different_scenes(seed, scenes)
    pictures, counts = [rendered.image for _, rendered in pairs], [len(scene.things) for scene, _ in pairs]
    texts = [str(describe(*pair)) for pair in pairs]
    cosines = clip.embed_texts(texts) @ in_batches(clip.embed_images, pictures).T
    right = cosines.argmax(axis=1) == np.arange(len(pairs))
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :RERANKED]
    pairs_read = [(text, pictures[column]) for text, columns in zip(texts, near, strict=True) for column in columns]
    odds = itm.match(*zip(*pairs_read, strict=True)).reshape(near.shape)
    rows = np.arange(len(texts))
    alone = near[rows, odds.argmax(axis=1)] == rows
    together = near[rows, reranked_scores(np.take_along_axis(cosines, near, 1), odds).argmax(axis=1)] == rows
    return (
        shares("text_to_image_r1", list(right), counts)
        | shares("itm_r1", list(together), counts)
        | {"itm_alone_r1": float(alone.mean())}
    )


def reranked_scores(cosines: Vectors, odds: Vectors) -> Vectors:
    """The score by which the search reranks: the curve's log-odds without the terms that are equal within a query."""
    calibration = calibrate.load(CHECKPOINTS / "clip")
    assert calibration is not None
    curve = calibration.curves["matched"]
    weights = dict(zip(curve.features, curve.weights, strict=True))
    return np.asarray((weights["cosine"] + weights["margin"]) * cosines + weights["matching"] * odds, np.float32)


def same_scene(vit: Vit, seed: int, scenes: int) -> Figures:
    """`visual_same_scene`: how often the nearest of 500 pictures is the same scene from another camera.

    100 of the others show the same things elsewhere. `visual_same_scene_pixels` is the same by raw pixels.
    """
    drawn = [search_scene(seed, number) for number in range(400 + scenes)]
    images = [another_view(scene, seed, number).image for number, (scene, _) in enumerate(drawn)]
    views, rows = in_batches(vit.embed_images, images), pixel_vectors(images)
    right, by_pixels, counts = [], [], []
    for number in range(scenes):
        scene, rendered = drawn[number]
        rng = np.random.default_rng([STREAM, 7, seed, number])
        confusing = [elsewhere(scene, rng).image for _ in range(SAME_THINGS)]
        others = [number, *range(scenes, scenes + 399)]
        query, pixels = vit.embed_images([rendered.image])[0], pixel_vectors([rendered.image])[0]
        near = np.concatenate([views[others], in_batches(vit.embed_images, confusing)])
        right.append(int((near @ query).argmax()) == 0)
        by_pixels.append(int((np.concatenate([rows[others], pixel_vectors(confusing)]) @ pixels).argmax()) == 0)
        counts.append(len(scene.things))
    pixels_share = {"visual_same_scene_pixels": float(np.mean(by_pixels))}
    return shares("visual_same_scene", right, counts) | pixels_share


def pixel_vectors(images: Sequence[Image]) -> Vectors:
    """Pictures as unit vectors of their pixels at 32 x 24, with the mean subtracted."""
    rows = np.stack([cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).ravel() for image in images])
    centered = rows - rows.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.asarray(centered / np.linalg.norm(centered, axis=1, keepdims=True), np.float32)


def shares(name: str, right: Sequence[bool] | Iterable[Any], counts: Sequence[int]) -> Figures:
    """The share of right answers, overall and by number of things."""
    groups: dict[int, list[bool]] = defaultdict(list)
    answers = [bool(answer) for answer in right]
    for answer, count in zip(answers, counts, strict=True):
        groups[count].append(answer)
    by_things = {str(count): round(float(np.mean(groups[count])), 4) for count in sorted(groups)}
    return {name: float(np.mean(answers)), f"{name}_by_things": by_things}


def in_lists(caption: Any, pictures: Sequence[Image]) -> list[str]:
    """Captions of pictures, in batches."""
    return [text for first in range(0, len(pictures), BATCH) for text in caption(pictures[first : first + BATCH])]


def randomize(adapter: Any) -> None:
    """Reset to the architecture before any training: random matrices, norms and biases at their initial values."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in adapter._model.named_parameters():
            if tensor.ndim > 1 or "class_embedding" in name:
                tensor.normal_(std=0.02)
            else:
                tensor.fill_(1.0 if name.endswith("weight") else 0.0)
