"""The scenes on which detection and segmentation are judged: never those of a training."""

from __future__ import annotations

import numpy as np

from tinyworld.render import Rendered, render
from tinyworld.scenes import EVALUATION, STYLES, Scene, sample_scene

STREAM = 977
"""Begins every seed of an evaluation, so that none is a scene of a training."""


def evaluation_scene(seed: int, number: int) -> tuple[Scene, Rendered]:
    """One of the fixed conditions' scenes: 1–6 things in equal shares, half of them `cartoon`."""
    rng = np.random.default_rng([STREAM, seed, number])
    low, high = EVALUATION.detection_count
    scene = sample_scene(rng, count=low + number // 2 % (high - low + 1), style=STYLES[number % 2])
    return scene, render(scene, rng=rng)
