"""Measures every shipped checkpoint against the exact truth.

    python -m tinyworld.evaluate [--seed N] [--scenes N]

The last line of output is JSON: each figure is a number at the top level; goals, breakdowns by number of things and
baselines have keys of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

GOALS = {
    "detect_map50": 0.95,
    "track_idf1": 0.9,
    "caption_exact": 0.90,
    "crop_caption_exact": 0.95,
    "clip_monotone": 0.95,
    "text_to_image_r1": 0.95,
    "itm_r1": 0.98,
    "visual_same_scene": 0.95,
    "sam_iou": 0.85,
    "sam_grid_recall": 0.95,
}
SCENES = 500
SEGMENT_SCENES = 60
"""The automatic generator prompts each picture a thousand times; this number of pictures takes minutes."""


def main() -> None:
    """Measure and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=SCENES)
    arguments = parser.parse_args()
    import torch

    from tinyworld import evaluate_detect, evaluate_search, evaluate_segment

    torch.set_num_threads(os.cpu_count() or 1)
    parts = {
        "search": (evaluate_search.evaluate, arguments.scenes),
        "detect": (evaluate_detect.evaluate, arguments.scenes),
        "segment": (evaluate_segment.evaluate, min(arguments.scenes, SEGMENT_SCENES)),
    }
    figures: dict[str, object] = {}
    for name, (evaluate, scenes) in parts.items():
        began = time.monotonic()
        figures |= evaluate(arguments.seed, scenes)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    for name, goal in GOALS.items():
        print(f"{name:20} {figures[name]:.3f}   goal {goal}", flush=True)
    figures |= {"goals": GOALS, "seed": arguments.seed, "scenes": arguments.scenes, "machine": machine()}
    print(json.dumps(figures))


def machine() -> dict[str, object]:
    """The machine that the figures were measured on."""
    import torch

    return {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.platform(terse=True)}


if __name__ == "__main__":
    main()
