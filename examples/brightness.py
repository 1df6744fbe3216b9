"""A stage of your own in one file: it measures how bright each picture is."""

from collections.abc import Sequence

from msgspec import Struct

from processors.frame import Frame, Invalid


class Brightness:
    """Adds `results["brightness"]`, the mean of all pixels from 0 to 1."""

    class Settings(Struct, frozen=True, forbid_unknown_fields=True):
        dark_below: float = 0.1

    name, lane = "brightness", "cpu"
    requires, provides = frozenset({"pixels"}), frozenset({"results"})

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def open(self, device: str) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Sequence[Invalid | None]:
        for frame in frames:
            assert frame.pixels is not None, "the runtime gives a stage what it requires"
            mean = float(frame.pixels.mean()) / 255
            frame.results["brightness"] = {"mean": mean, "dark": mean < self.settings.dark_below}
        return [None] * len(frames)

    def close(self) -> None: ...
