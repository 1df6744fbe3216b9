"""Writes the two clips and the stills that ship with Sightline and that `sightline demo` shows.

    python -m tinyworld.samples

Two cameras record one sequence of scenes, so that the feeds are distinct and can be compared. The scenes are chosen so
that the demo's searches have right answers and plausible wrong ones: a red circle is beside a square in one scene and
without a square in another. `truth.json` has the caption of each still and of each part of the clips.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np

from tinyworld.captions import caption
from tinyworld.clips import Clip, sample_shot
from tinyworld.render import Camera, Rendered, render, sample_camera
from tinyworld.scenes import STYLES, Scene, Style, sample_scene

FOLDER = Path(__file__).parent / "samples"
SEED = 20
FPS, SHOT_SECONDS = 10, 5
JPEG_QUALITY = 88
CAMERAS = {
    "left": Camera(dx=-0.03, zoom=0.97, backdrop=0),
    "right": Camera(dx=0.04, dy=0.02, zoom=0.94, roll=3.0, backdrop=5),
}

Kinds = tuple[tuple[str, str], ...]
SHOTS: tuple[tuple[Style, Kinds], ...] = (
    ("photo", (("red", "circle"), ("blue", "square"))),
    ("cartoon", (("red", "circle"), ("green", "star"))),
    ("photo", (("yellow", "triangle"), ("purple", "ring"), ("red", "square"))),
    ("cartoon", (("blue", "square"), ("orange", "cross"))),
    ("photo", (("red", "circle"), ("yellow", "star"), ("cyan", "ring"))),
    ("cartoon", (("pink", "triangle"),)),
)
STILLS: tuple[Kinds, ...] = (
    (("red", "circle"),),
    (("red", "circle"), ("blue", "square")),
    (("red", "circle"), ("green", "triangle")),
    (("red", "circle"), ("red", "square"), ("yellow", "star")),
    (("red", "square"), ("blue", "circle")),
    (("red", "star"), ("green", "circle")),
    (("blue", "square"),),
    (("green", "star"), ("purple", "cross")),
)
"""The first stills; the others are random."""
STILL_COUNT = 24


def staged(rng: np.random.Generator, kinds: Kinds, style: Style) -> Scene:
    """A scene of these things at random positions."""
    scene = sample_scene(rng, count=len(kinds), style=style)
    things = tuple(replace(thing, color=c, shape=s) for thing, (c, s) in zip(scene.things, kinds, strict=True))
    return replace(scene, things=things)


def sample_film(seed: int = SEED) -> Clip:
    """The sequence that both cameras see."""
    rng = np.random.default_rng(seed)
    shots, track = [], 0
    for style, kinds in SHOTS:
        scene = staged(rng, kinds, style)
        shots.append(sample_shot(rng, scene, SHOT_SECONDS * FPS, track, stays=True))
        track += len(kinds)
    return Clip(tuple(shots), FPS, seed)


def write_clip(path: Path, film: Clip, camera: Camera) -> list[str]:
    """Encode the film as `camera` sees it (H.264); returns the caption of every frame."""
    captions = []
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"crf": "25", "preset": "slow"}
        for frame in film.frames(camera):
            captions.append(caption(frame.scene, frame.rendered))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rendered.image, format="rgb24")))
        file.mux(stream.encode())
    return captions


def still(number: int, seed: int = SEED) -> tuple[Scene, Rendered]:
    """A still: the first ones staged, the others random; every other one is a cartoon."""
    rng = np.random.default_rng([seed, number])
    style = STYLES[number % 2]
    scene = staged(rng, STILLS[number], style) if number < len(STILLS) else sample_scene(rng, style=style)
    return scene, render(scene, camera=sample_camera(rng, strength=0.5), rng=rng)


def main() -> None:
    """Write clips, stills and their truth."""
    FOLDER.mkdir(exist_ok=True)
    film = sample_film()
    truth: dict[str, object] = {"fps": FPS, "changes": film.changes}
    truth["clips"] = {f"{name}.mp4": runs(write_clip(FOLDER / f"{name}.mp4", film, c)) for name, c in CAMERAS.items()}
    stills = {}
    for number in range(STILL_COUNT):
        scene, rendered = still(number)
        name = f"still-{number:02d}.jpg"
        pixels = cv2.cvtColor(rendered.image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(FOLDER / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        stills[name] = caption(scene, rendered)
    truth["stills"] = stills
    (FOLDER / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def runs(captions: list[str]) -> list[tuple[int, str]]:
    """The frames at which the caption changes, with the new caption."""
    return [(i, text) for i, text in enumerate(captions) if i == 0 or captions[i - 1] != text]


if __name__ == "__main__":
    main()
