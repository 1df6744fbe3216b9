"""Moving scenes with exact truth: tracks, scene changes, duplicates, things that enter and leave, several cameras.

A clip is a list of shots. In a shot, things move on smooth paths; some enter or leave through the edges of the frame.
While a shot is frozen, its frames are duplicates. A thing keeps its track for the whole shot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinyworld.render import Camera, Rendered, render
from tinyworld.scenes import Scene, Style, Thing, sample_scene


@dataclass(frozen=True, slots=True)
class Path:
    """The path of a thing's center from `start` to `end`, with a vertical oscillation of amplitude `sway`.

    All are fractions of the frame; `turns` is the number of oscillations per shot. A path may start or end outside the
    frame.
    """

    thing: Thing
    track: int
    start: tuple[float, float]
    end: tuple[float, float]
    sway: float
    turns: float

    def at(self, share: float) -> Thing:
        """The thing after `share` (0..1) of the shot."""
        wave = self.sway * float(np.sin(2.0 * np.pi * self.turns * share))
        x = self.start[0] + (self.end[0] - self.start[0]) * share
        y = self.start[1] + (self.end[1] - self.start[1]) * share + wave
        return replace(self.thing, x=x, y=y)


@dataclass(frozen=True, slots=True)
class Shot:
    """`length` frames of one scene; within `holds` (ranges of frames) neither things nor noise change."""

    scene: Scene
    paths: tuple[Path, ...]
    length: int
    holds: tuple[tuple[int, int], ...] = ()

    def moment(self, index: int) -> int:
        """The frame whose picture is shown at `index`: within a hold its first frame, else `index` itself."""
        for first, last in self.holds:
            if first < index <= last:
                return first
        return index


@dataclass(frozen=True, slots=True)
class Clip:
    """Shots in sequence at `fps` frames per second; `seed` determines the noise."""

    shots: tuple[Shot, ...]
    fps: float
    seed: int

    def __len__(self) -> int:
        return sum(shot.length for shot in self.shots)

    @property
    def changes(self) -> tuple[int, ...]:
        """Indexes of the frames that start another scene."""
        ends = np.cumsum([shot.length for shot in self.shots])
        return tuple(int(end) for end in ends[:-1])

    def locate(self, index: int) -> tuple[int, int]:
        """The number of the shot and of the frame within it. Raises IndexError outside the clip."""
        for number, shot in enumerate(self.shots):
            if 0 <= index < shot.length:
                return number, index
            index -= shot.length
        raise IndexError("frame outside the clip")

    def is_duplicate(self, index: int) -> bool:
        """Whether the frame shows the same picture as the frame before."""
        number, local = self.locate(index)
        return self.shots[number].moment(local) != local

    def scene_at(self, index: int) -> tuple[Scene, tuple[int, ...]]:
        """The scene at a frame and the track of each thing, including things entirely outside the frame."""
        number, local = self.locate(index)
        shot = self.shots[number]
        share = shot.moment(local) / max(shot.length - 1, 1)
        things = tuple(path.at(share) for path in shot.paths)
        return replace(shot.scene, things=things), tuple(path.track for path in shot.paths)

    def frames(self, camera: Camera | None = None) -> Iterator[ClipFrame]:
        """The frames as `camera` sees them, in order."""
        for index in range(len(self)):
            yield self.frame(index, camera)

    def frame(self, index: int, camera: Camera | None = None) -> ClipFrame:
        """One frame as `camera` sees it; its picture depends on the index alone."""
        number, local = self.locate(index)
        scene, tracks = self.scene_at(index)
        moment = self.shots[number].moment(local)
        rng = np.random.default_rng([self.seed, number, moment, camera.backdrop if camera else 0])
        rendered = render(scene, camera=camera, rng=rng)
        return ClipFrame(index, index / self.fps, scene, rendered, tracks, index in self.changes, moment != local)


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A frame of a clip with its truth; `tracks` is in the order of the scene's things and of `rendered`."""

    index: int
    seconds: float
    scene: Scene
    rendered: Rendered
    tracks: tuple[int, ...]
    is_change: bool
    is_duplicate: bool


def sample_clip(
    rng: np.random.Generator,
    *,
    seconds: float = 10.0,
    fps: float = 10.0,
    shots: int = 2,
    count: int | tuple[int, int] = (1, 4),
    style: Style | None = None,
) -> Clip:
    """A clip of `shots` scenes of equal length.

    About a third of the things enter or leave, and each shot is frozen once for about a tenth of its time.
    """
    length = max(round(seconds * fps / shots), 2)
    sampled, track = [], 0
    for _ in range(shots):
        scene = sample_scene(rng, count=count, style=style)
        sampled.append(sample_shot(rng, scene, length, track))
        track += len(scene.things)
    return Clip(tuple(sampled), fps, int(rng.integers(2**31)))


def sample_shot(rng: np.random.Generator, scene: Scene, length: int, first_track: int, *, stays: bool = False) -> Shot:
    """A shot of a scene; with `stays` no thing enters or leaves."""
    paths = tuple(_sample_path(rng, thing, first_track + i, stays=stays) for i, thing in enumerate(scene.things))
    still = max(length // 10, 1)
    begin = int(rng.integers(1, max(length - still - 1, 2)))
    return Shot(scene, paths, length, ((begin, begin + still),))


def _sample_path(rng: np.random.Generator, thing: Thing, track: int, *, stays: bool) -> Path:
    """From the thing's position by up to a third of the frame, or in from or out to the nearer side."""
    here = (thing.x, thing.y)
    there = tuple(float(np.clip(p + rng.uniform(-0.33, 0.33), 0.15, 0.85)) for p in here)
    outside = (-0.3 if thing.x < 0.5 else 1.3, float(np.clip(thing.y + rng.uniform(-0.1, 0.1), 0.15, 0.85)))
    draw = 1.0 if stays else rng.random()
    start, end = (outside, here) if draw < 0.17 else (here, outside) if draw < 0.34 else (here, (there[0], there[1]))
    return Path(thing, track, start, end, float(rng.uniform(0.0, 0.06)), float(rng.uniform(0.5, 2.0)))
