"""Memory on the device: a batch that does not fit leaves nothing behind, and a closed stage holds nothing."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
import torch

from processors.frame import Frame, Verdicts
from processors.models.out_of_memory import translate_out_of_memory
from processors.stage import Lane
from processors.stages.caption import Caption, CaptionSettings
from processors.stages.detect import Detect, DetectSettings
from processors.stages.embed import Embed, EmbedSettings
from schemas.events import Label
from tests.gpu.conftest import held_bytes
from tests.support.deployment import QUICK, deployed, fated, running, until
from tests.support.edge_folder import edge_folder
from tests.support.pictures import decoded
from tinyworld.publish import CHECKPOINTS

MORE_THAN_ANY_MACHINE_BYTES = 1 << 46
FRAMES, FITS = 8, 2
FRAME_BYTES = 1 << 20


class Hungry:
    """Allocates memory per frame, and more than any machine has for more than `FITS` frames."""

    name: ClassVar[str] = "fate"
    lane: ClassVar[Lane] = "gpu"
    requires: ClassVar[frozenset[str]] = frozenset({"original"})
    provides: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __init__(self, device: str) -> None:
        self._device = device
        self.sizes: list[int] = []
        self.left_behind: list[int] = []
        """Number of tensors of earlier calls that still existed at the start of each call."""
        self._allocated: list[weakref.ref[torch.Tensor]] = []

    def open(self, device: str) -> None:
        assert device == self._device

    def close(self) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        self.left_behind.append(sum(reference() is not None for reference in self._allocated))
        self.sizes.append(len(frames))
        with translate_out_of_memory():
            held = torch.zeros(len(frames) * FRAME_BYTES, dtype=torch.uint8, device=self._device)
            self._allocated.append(weakref.ref(held))
            if len(frames) > FITS:
                torch.empty(MORE_THAN_ANY_MACHINE_BYTES, dtype=torch.uint8, device=self._device)
        for frame in frames:
            frame.labels = (Label(name=str(len(held)), probability=1.0),)
        return [None] * len(frames)


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with edge_folder(tmp_path_factory.mktemp("index")) as folder:
        yield folder


async def test_a_batch_that_does_not_fit_is_released_and_halved(
    device: str, tmp_path: Path, index_folder: Path
) -> None:
    """If the error still held its tensors, half of the batch would not fit either."""
    stage = Hungry(device)
    settings = msgspec.structs.replace(QUICK, batch_frames=FRAMES, device=device)
    async with deployed(tmp_path, index_folder=index_folder) as here:
        await here.publish([fated("ok", number=number) for number in range(FRAMES)])
        before = held_bytes(device)
        async with running(here.worker([stage], settings=settings)) as task:
            await until(here.drained, task)
        assert len(await here.enriched()) == FRAMES
        assert not await here.letters()
    assert max(stage.sizes) > FITS, "one batch did not fit"
    assert stage.sizes[-1] <= FITS
    assert set(stage.left_behind) == {0}
    assert held_bytes(device) == before


def opened(kind: str, device: str) -> Any:
    builders: dict[str, Any] = {
        "detect": lambda: Detect(DetectSettings(weights=str(CHECKPOINTS / "yolov9"), precision="bf16")),
        "caption": lambda: Caption(CaptionSettings(weights=str(CHECKPOINTS / "blip"), precision="bf16")),
        "embed": lambda: Embed(
            EmbedSettings(weights=str(CHECKPOINTS / "clip"), visual_weights=str(CHECKPOINTS / "vit"), precision="bf16")
        ),
    }
    stage = builders[kind]()
    stage.open(device)
    return stage


@pytest.mark.parametrize("kind", ["detect", "caption", "embed"])
def test_a_closed_stage_releases_its_memory(kind: str, device: str) -> None:
    opened(kind, device).close()  # allocates what the libraries keep: workspaces, tables
    before = held_bytes(device)
    stage = opened(kind, device)
    frames = [decoded(seed) for seed in range(3)]
    assert stage.process(frames) == [None] * 3
    del frames
    assert held_bytes(device) > before
    stage.close()
    assert held_bytes(device) <= before
