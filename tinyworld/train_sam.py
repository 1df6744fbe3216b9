"""Trains a small Segment Anything (Kirillov et al. 2023, segment-anything's own classes) on tinyworld from scratch.

    python -m tinyworld.train_sam [--device cpu] [--stop-after-seconds N]

A step encodes a few pictures once and asks each for several masks: by points on things, by boxes a detector could
have given, and by points on the background, where there is nothing to find and the predicted IoU must say so (the
automatic generator asks everywhere). Of the three masks of an ambiguous prompt the best is taught, as in the paper.
The first steps are taken on pictures of half the size cut into patches of half the side; then the kernel of the
patches is stretched, which changes nothing at first, and the model learns what the finer pixels tell. Last, patches
of half the side again: four times as many, so that masks follow edges within a pixel.
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from processors.models.sam import Geometry, build
from tinyworld.references import describe_segmenter
from tinyworld.rendered import RenderedSet, render_set
from tinyworld.resumable import Resumable, cosine, options, run

CHECKPOINT = Path(__file__).parent / "checkpoints" / "sam"
GEOMETRY = Geometry(
    image_size=256,
    patch_size=8,
    encoder_width=96,
    encoder_depth=4,
    encoder_heads=4,
    global_blocks=(1, 3),
    window=8,
    width=64,
    decoder_depth=2,
    decoder_heads=4,
    decoder_mlp=128,
    iou_hidden=64,
    mask_channels=16,
)

QUALITY_WEIGHT = 3.0
"""Of the predicted IoU's squared error: the generator's threshold of 0.88 leaves little room for it."""
SHARPNESS = 12.0
"""Makes 94 % of the masks of things of 1/64 of the picture and more stable by the generator's measure; none were."""
KERNEL, PLACES = "image_encoder.patch_embed.proj.weight", "image_encoder.pos_embed"


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: `steps` of `pictures` whose longer side is `image_size` pixels, in patches of
    `patch_size` pixels."""

    image_size: int
    patch_size: int
    steps: int
    pictures: int
    learning_rate: float

    @property
    def geometry(self) -> Geometry:
        return msgspec.structs.replace(GEOMETRY, image_size=self.image_size, patch_size=self.patch_size)

    @property
    def cells(self) -> int:
        """Side of the decoder's masks: four times as fine as the patches."""
        return 4 * self.image_size // self.patch_size


@dataclass(frozen=True)
class Recipe:
    """All that decides the result, besides the seed. The counts of prompts are a picture's."""

    phases: tuple[Phase, ...] = (
        Phase(128, 8, 1400, 12, 2e-3),
        Phase(256, 16, 6400, 12, 1.2e-3),
        Phase(256, 8, 2500, 8, 1e-3),
    )
    points: int = 3
    boxes: int = 2
    empty_points: int = 1
    weight_decay: float = 0.02
    warmup_steps: int = 100
    average_decay: float = 0.998
    frequency: float = 2.0  # of the positional encoding, in place of 1: 32 frequencies must tell 256 pixels apart
    scenes: int = 12000
    moments: float = 0.5
    seed: int = 4


@dataclass(frozen=True)
class Question:
    """A picture float32 [3, H, W] of 0–255, its prompts in pixels of it, and a mask for each: points
    float32 [p, 2], boxes float32 [b, 4], targets float32 [p + b, cells, cells] as the share of each cell that is
    covered, `fine` bool [p + b, 2 cells, 2 cells] by which the IoU is judged, `empty` bool [p + b] where the prompt is
    on nothing."""

    image: torch.Tensor
    points: torch.Tensor
    boxes: torch.Tensor
    targets: torch.Tensor
    fine: torch.Tensor
    empty: torch.Tensor


def question(scenes: RenderedSet, rng: np.random.Generator, recipe: Recipe, phase: Phase) -> Question:
    """A scene at random, half of the time mirrored, with prompts drawn on it."""
    number = int(rng.integers(len(scenes)))
    image, instances = np.array(scenes.images[number]), np.array(scenes.instances[number])
    things = scenes.things_of(number)
    if rng.random() < 0.5:
        image, instances = image[:, ::-1], instances[:, ::-1]
    scale = phase.image_size / image.shape[1]
    asked = rng.choice(things, recipe.points + recipe.boxes) if len(things) else np.empty(0, np.intp)
    masks = [instances == thing + 1 for thing in asked]
    on_points = [_point_on(mask, rng) for mask in masks[: recipe.points]]
    off_points = [_point_on(instances == 0, rng) for _ in range(recipe.empty_points)]
    boxes = [_jittered_box(mask, rng) for mask in masks[recipe.points :]]
    nothing = np.zeros_like(instances, np.bool_)
    masks = [*masks[: len(on_points)], *[nothing] * len(off_points), *masks[len(on_points) :]]
    empty = [False] * len(on_points) + [True] * len(off_points) + [False] * len(boxes)
    return Question(
        _resized(image, phase.image_size),
        torch.tensor(np.array([*on_points, *off_points], np.float32).reshape(-1, 2) * scale),
        torch.tensor(np.array(boxes, np.float32).reshape(-1, 4) * scale),
        torch.from_numpy(np.stack([_covered(mask, phase.cells) for mask in masks])),
        torch.from_numpy(np.stack([_covered(mask, 2 * phase.cells) > 0.5 for mask in masks])),
        torch.tensor(empty),
    )


def _resized(image: npt.NDArray[np.uint8], longest: int) -> torch.Tensor:
    """The picture at the encoder's size; its pixels stay 0–255, the model subtracts the mean and pads."""
    height = round(longest * image.shape[0] / image.shape[1])
    small = cv2.resize(image, (longest, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1).float()


def _covered(mask: npt.NDArray[np.bool_], cells: int) -> npt.NDArray[np.float32]:
    """The share that `mask` covers of each cell of a square grid."""
    height = round(cells * mask.shape[0] / mask.shape[1])
    grid = np.zeros((cells, cells), np.float32)
    grid[:height] = cv2.resize(mask.astype(np.float32), (cells, height), interpolation=cv2.INTER_AREA)
    return grid


def _point_on(mask: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A pixel of `mask`, xy."""
    row, column = np.unravel_index(rng.choice(np.flatnonzero(mask)), mask.shape)
    return np.array([column, row], np.float64)


def _jittered_box(mask: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The box around `mask`, its edges off by a few percent as a detector's are."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    sides = np.tile(box[2:] - box[:2], 2)
    return box + rng.normal(0.0, 0.03, 4) * sides


def answers(model: Any, questions: list[Question], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask logits float32 [n, 4, cells, cells] and predicted IoU float32 [n, 4] of all prompts, in order.

    It is `MaskDecoder.predict_masks`, which takes one picture, over all pictures at once: a third less time.
    """
    decoder, prompts = model.mask_decoder, [_prompts(model, one, device) for one in questions]
    pixels = torch.stack([model.preprocess(one.image.to(device)) for one in questions])
    counts = torch.tensor([len(tokens) for tokens in prompts], device=device)
    asked = torch.cat(prompts)
    with torch.autocast(device, torch.bfloat16):
        features = model.image_encoder(pixels).repeat_interleave(counts, dim=0)
        features = features + model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        place = model.prompt_encoder.get_dense_pe().expand(len(asked), -1, -1, -1)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(asked), -1, -1)
        tokens, pixels_out = decoder.transformer(features, place, torch.cat([own, asked], dim=1))
        fine = decoder.output_upscaling(pixels_out.transpose(1, 2).reshape(features.shape))
        heads = [head(tokens[:, 1 + index]) for index, head in enumerate(decoder.output_hypernetworks_mlps)]
        logits = (torch.stack(heads, dim=1) @ fine.flatten(2)).unflatten(2, fine.shape[2:])
        quality = decoder.iou_prediction_head(tokens[:, 0])
    return logits.float(), quality.float()


def _prompts(model: Any, one: Question, device: str) -> torch.Tensor:
    """Points and boxes as two tokens each (a lone point is followed by a padding point): [p + b, 2, width]."""
    labels = torch.ones(len(one.points), 1, device=device)
    points, _ = model.prompt_encoder((one.points[:, None].to(device), labels), None, None)
    boxes, _ = model.prompt_encoder(None, one.boxes.to(device), None)
    return torch.cat([points, boxes])


def loss_of(
    logits: torch.Tensor, quality: torch.Tensor, questions: list[Question]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy and dice of the single mask and of the best of three, and the error of the predicted IoU."""
    targets, fine = (torch.cat([getattr(one, name) for one in questions]) for name in ("targets", "fine"))
    found = ~torch.cat([one.empty for one in questions]).to(logits.device)
    reached = _iou(logits.detach(), fine.to(logits.device)) * found[:, None]
    rows = logits.shape[2] * 3 // 4  # what lies below is no picture
    logits, targets = logits[:, :, :rows], targets[:, None, :rows].expand(-1, 4, -1, -1).to(logits.device)
    chance = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((2, 3))
    overlap = (chance * targets).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (chance.sum((2, 3)) + targets.sum((2, 3)) + 1)
    each = (20 * entropy + dice)[found]
    shapes = each[:, 0] + each[:, 1:].min(1).values + 0.1 * each[:, 1:].mean(1)
    error = F.mse_loss(quality, reached)
    parts = {
        "entropy": float(entropy.detach()[found].mean()),
        "dice": float(dice.detach()[found].mean()),
        "iou_single": float(reached[found, 0].mean()),
        "iou_best": float(reached[found, 1:].max(1).values.mean()),
        "iou_error": float(error.detach()),
    }
    return shapes.mean() + QUALITY_WEIGHT * error, parts


def _iou(logits: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """IoU [n, 4] of the masks made smooth with the truth [n, 2 cells, 2 cells]."""
    masks = F.interpolate(logits, scale_factor=2, mode="bilinear") > 0
    common, either = masks & fine[:, None], masks | fine[:, None]
    return common.sum((2, 3)) / either.sum((2, 3)).clamp(min=1)


class SamTraining(Resumable):
    """A phase of the training; `start` is the model of the phase before, None at the beginning."""

    def __init__(self, recipe: Recipe, phase: Phase, scenes: RenderedSet, *, device: str, start: Any = None) -> None:
        torch.manual_seed(recipe.seed)
        model = build(phase.geometry)
        if start is None:
            model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix *= recipe.frequency
            torch.nn.init.trunc_normal_(model.image_encoder.pos_embed, std=0.02)
        else:
            model.load_state_dict(refined(start, phase.geometry))
        model.to(device)
        super().__init__(model, weight_decay=recipe.weight_decay, average_decay=recipe.average_decay)
        self.recipe, self.phase, self.scenes, self.device = recipe, phase, scenes, device

    def advance(self, step: int) -> dict[str, float]:
        """One step on `phase.pictures` scenes, which depend on the seed, the phase and `step` alone."""
        recipe, phase = self.recipe, self.phase
        rng = np.random.default_rng([recipe.seed, phase.image_size, phase.patch_size, step])
        questions = [question(self.scenes, rng, recipe, phase) for _ in range(phase.pictures)]
        self.model.train()
        logits, quality = answers(self.model, questions, self.device)
        loss, parts = loss_of(logits, quality, questions)
        rate = cosine(step, phase.steps, peak=phase.learning_rate, warmup_steps=recipe.warmup_steps)
        self.descend(loss, rate=rate, largest_norm=1.0)
        return parts


def refined(source: Any, geometry: Geometry) -> dict[str, torch.Tensor]:
    """The weights of `source` for `geometry`, of finer pixels or finer patches. The kernel is resized so that a patch
    of the same look gives the same; with more patches, what they know of their place lies between what it was."""
    weights: dict[str, torch.Tensor] = dict(source.state_dict())
    kernel, places = weights[KERNEL], weights[PLACES]
    side, patches = geometry.patch_size, geometry.image_size // geometry.patch_size
    times = (kernel.shape[-1] / side) ** 2
    weights[KERNEL] = F.interpolate(kernel, size=(side, side), mode="area") * times
    between = F.interpolate(places.permute(0, 3, 1, 2), size=(patches, patches), mode="bilinear")
    weights[PLACES] = between.permute(0, 2, 3, 1).contiguous()
    return weights


def export(model: Any, folder: Path) -> None:
    """Write `geometry.json` and `model.safetensors` in fp16."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "geometry.json").write_text(json.dumps(msgspec.to_builtins(GEOMETRY), indent=2) + "\n")


def sharpened(model: Any, factor: float) -> Any:
    """The same model with mask logits times `factor`: masks stay the same, because the threshold is 0, and their
    edges become steeper, which the generator's stability score (offset 1) takes for certainty. Small pictures need
    it: a band of a pixel around a thing of 35 pixels is a tenth of it."""
    steeper = copy.deepcopy(model)
    for head in steeper.mask_decoder.output_hypernetworks_mlps:
        head.layers[-1].weight.data *= factor
        head.layers[-1].bias.data *= factor
    return steeper


def main() -> None:
    given = options(__doc__)
    recipe = Recipe()
    scenes = render_set(given.build / "scenes", recipe.scenes, seed=recipe.seed, moments=recipe.moments)
    trained: torch.nn.Module | None = None
    for phase in recipe.phases:
        training = SamTraining(recipe, phase, scenes, device=given.device, start=trained)
        state = given.build / f"sam-{phase.image_size}-{phase.patch_size}.state.pt"
        training.resume(state)
        run(training, training.advance, steps=phase.steps, state=state, seconds=given.stop_after_seconds)
        trained = training.average
    assert trained is not None
    export(sharpened(trained, SHARPNESS), CHECKPOINT)
    describe_segmenter(CHECKPOINT)


if __name__ == "__main__":
    main()
