"""The scenes on which detection and segmentation are evaluated, none of which is a training scene."""

from __future__ import annotations

import numpy as np

from tinyworld.render import Rendered, render
from tinyworld.scenes import EVALUATION, STYLES, Scene, sample_scene

STREAM = 977
"""First number of every evaluation's seed, so that no scene is a training scene."""


def evaluation_scene(seed: int, number: int) -> tuple[Scene, Rendered]:
    """A scene under the fixed conditions: 1–6 things in equal shares, half of the scenes `cartoon`."""
    rng = np.random.default_rng([STREAM, seed, number])
    low, high = EVALUATION.detection_count
    scene = sample_scene(rng, count=low + number // 2 % (high - low + 1), style=STYLES[number % 2])
    return scene, render(scene, rng=rng)
