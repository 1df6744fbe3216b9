"""Trains a small Segment Anything (Kirillov et al. 2023, segment-anything's own classes) on tinyworld from scratch.

    python -m tinyworld.train_sam [--device cpu] [--workers N] [--stop-after-seconds N]

A step encodes a few pictures once and prompts each several times: with points on things, with boxes as a detector gives
them, and with points on the background, where there is nothing to find and the predicted IoU must be low (the automatic
generator prompts everywhere). Of the three masks of an ambiguous prompt the best is trained, as in the paper.
The first phase uses pictures of half the size with patches of half the side. Then the patch kernel is resized, which
changes no output at first, and the model learns from finer pixels. The last phase uses patches of half the side again,
four times as many, so that masks follow edges within a pixel.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import msgspec
import numpy as np
import torch
from torch.nn import functional as F

from processors.models.sam import Geometry, build
from tinyworld.model_cards import describe_segmenter
from tinyworld.prefetch import prefetched
from tinyworld.rendered_set import RenderedSet, render_set
from tinyworld.resumable import Resumable, cosine, options, run
from tinyworld.sam_prompts import PromptBatch, PromptSpec, sample_prompts

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
"""Weight of the predicted IoU's squared error: the generator's threshold of 0.88 tolerates little error."""
SHARPNESS = 12.0
"""With it, the generator finds 94 % of the masks of things of at least 1/64 of the picture stable; without it, none."""
KERNEL, POSITIONS = "image_encoder.patch_embed.proj.weight", "image_encoder.pos_embed"


@dataclass(frozen=True)
class Phase:
    """A phase: `steps` of `pictures`, whose longer side is `image_size` pixels, in patches of `patch_size` pixels."""

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

    def prompt_spec(self, recipe: Recipe) -> PromptSpec:
        """The size of its steps."""
        return PromptSpec(self.pictures, self.image_size, self.cells, recipe.points, recipe.boxes, recipe.empty_points)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result besides the seed. The counts of prompts are per picture."""

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
    frequency: float = 2.0  # of the positional encoding instead of 1: 32 frequencies must distinguish 256 pixels
    scenes: int = 12000
    moments: float = 0.5
    seed: int = 4


def predict(model: Any, batch: PromptBatch, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask logits float32 [n, 4, cells, cells] and predicted IoU float32 [n, 4] of all prompts, in order.

    Does what `MaskDecoder.predict_masks` does for one picture, for all pictures at once, in a third less time.
    """
    decoder, prompts = model.mask_decoder, _prompt_tokens(model, batch)
    pixels = model.preprocess(batch.images.float())
    with torch.autocast(device, torch.bfloat16):
        features = model.image_encoder(pixels)[batch.pictures]
        features = features + model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        positions = model.prompt_encoder.get_dense_pe().expand(len(prompts), -1, -1, -1)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(prompts), -1, -1)
        tokens, pixels_out = decoder.transformer(features, positions, torch.cat([own, prompts], dim=1))
        fine = decoder.output_upscaling(pixels_out.transpose(1, 2).reshape(features.shape))
        heads = [head(tokens[:, 1 + index]) for index, head in enumerate(decoder.output_hypernetworks_mlps)]
        logits = (torch.stack(heads, dim=1) @ fine.flatten(2)).unflatten(2, fine.shape[2:])
        quality = decoder.iou_prediction_head(tokens[:, 0])
    return logits.float(), quality.float()


def _prompt_tokens(model: Any, batch: PromptBatch) -> torch.Tensor:
    """Points and boxes as two tokens each (a lone point is followed by a padding point): [p + b, 2, width]."""
    labels = torch.ones(len(batch.points), 1, device=batch.points.device)
    points, _ = model.prompt_encoder((batch.points[:, None], labels), None, None)
    boxes, _ = model.prompt_encoder(None, batch.boxes, None)
    return torch.cat([points, boxes])


def loss_of(logits: torch.Tensor, quality: torch.Tensor, batch: PromptBatch) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy and dice of the single mask and of the best of three, plus the error of the predicted IoU."""
    on_things = ~batch.empty
    reached = _iou(logits.detach(), batch.fine) * on_things[:, None]
    rows = logits.shape[2] * 3 // 4  # below is padding
    logits, targets = logits[:, :, :rows], batch.targets[:, None, :rows].expand(-1, 4, -1, -1)
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((2, 3))
    overlap = (probability * targets).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + targets.sum((2, 3)) + 1)
    each = (20 * entropy + dice)[on_things]
    shapes = each[:, 0] + each[:, 1:].min(1).values + 0.1 * each[:, 1:].mean(1)
    error = F.mse_loss(quality, reached)
    parts = {
        "entropy": float(entropy.detach()[on_things].mean()),
        "dice": float(dice.detach()[on_things].mean()),
        "iou_single": float(reached[on_things, 0].mean()),
        "iou_best": float(reached[on_things, 1:].max(1).values.mean()),
        "iou_error": float(error.detach()),
    }
    return shapes.mean() + QUALITY_WEIGHT * error, parts


def _iou(logits: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """IoU [n, 4] of the upsampled masks with the truth [n, 2 cells, 2 cells]."""
    masks = F.interpolate(logits, scale_factor=2, mode="bilinear") > 0
    common, either = masks & fine[:, None], masks | fine[:, None]
    return common.sum((2, 3)) / either.sum((2, 3)).clamp(min=1)


class SamTraining(Resumable):
    """A phase of the training; `start` is the model of the phase before, None for the first.

    `workers` processes prepare the prompts.
    """

    def __init__(
        self,
        recipe: Recipe,
        phase: Phase,
        scenes: RenderedSet,
        *,
        device: str,
        start: Any = None,
        workers: int = 0,
    ) -> None:
        torch.manual_seed(recipe.seed)
        model = build(phase.geometry)
        if start is None:
            model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix *= recipe.frequency
            torch.nn.init.trunc_normal_(model.image_encoder.pos_embed, std=0.02)
        else:
            model.load_state_dict(refined(start, phase.geometry))
        model.to(device)
        super().__init__(model, weight_decay=recipe.weight_decay, average_decay=recipe.average_decay)
        self.recipe, self.phase, self.scenes, self.device, self._workers = recipe, phase, scenes, device, workers
        self._batches: Iterator[PromptBatch] | None = None

    def prompts(self, step: int) -> PromptBatch:
        """The prompts of a step, which depend on the seed, the phase and `step` alone."""
        recipe, phase = self.recipe, self.phase
        rng = np.random.default_rng([recipe.seed, phase.image_size, phase.patch_size, step])
        return sample_prompts(self.scenes, rng, phase.prompt_spec(recipe))

    def advance(self, step: int) -> dict[str, float]:
        """Take a step. The first may be any step; the others follow it."""
        if self._batches is None:
            self._batches = prefetched(self.prompts, range(step, self.phase.steps), workers=self._workers)
        batch = next(self._batches).to(self.device)
        self.model.train()
        logits, quality = predict(self.model, batch, self.device)
        loss, parts = loss_of(logits, quality, batch)
        recipe, phase = self.recipe, self.phase
        rate = cosine(step, phase.steps, peak=phase.learning_rate, warmup_steps=recipe.warmup_steps)
        self.descend(loss, rate=rate, largest_norm=1.0)
        return parts


def refined(source: Any, geometry: Geometry) -> dict[str, torch.Tensor]:
    """The weights of `source` for a `geometry` with finer pixels or finer patches.

    The kernel is resized so that a patch of the same appearance gives the same output. With more patches, the
    positional embedding is interpolated.
    """
    weights: dict[str, torch.Tensor] = dict(source.state_dict())
    kernel, positions = weights[KERNEL], weights[POSITIONS]
    side, patches = geometry.patch_size, geometry.image_size // geometry.patch_size
    scale = (kernel.shape[-1] / side) ** 2
    weights[KERNEL] = F.interpolate(kernel, size=(side, side), mode="area") * scale
    interpolated = F.interpolate(positions.permute(0, 3, 1, 2), size=(patches, patches), mode="bilinear")
    weights[POSITIONS] = interpolated.permute(0, 2, 3, 1).contiguous()
    return weights


def export(model: Any, folder: Path) -> None:
    """Write `geometry.json` and `model.safetensors` in fp16."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "geometry.json").write_text(json.dumps(msgspec.to_builtins(GEOMETRY), indent=2) + "\n")


def sharpened(model: Any, factor: float) -> Any:
    """The model with mask logits multiplied by `factor`.

    Masks stay the same, because the threshold is 0. Their edges become steeper, which the generator's stability score
    (offset 1) counts as certainty. Small pictures need it: a band of one pixel around a thing of 35 pixels is a tenth
    of it.
    """
    steeper = copy.deepcopy(model)
    for head in steeper.mask_decoder.output_hypernetworks_mlps:
        head.layers[-1].weight.data *= factor
        head.layers[-1].bias.data *= factor
    return steeper


def main() -> None:
    arguments = options(__doc__)
    recipe = Recipe()
    scenes = render_set(
        arguments.build / "scenes", recipe.scenes, seed=recipe.seed, moments=recipe.moments, workers=arguments.workers
    )
    trained: torch.nn.Module | None = None
    for phase in recipe.phases:
        training = SamTraining(recipe, phase, scenes, device=arguments.device, start=trained, workers=arguments.workers)
        state = arguments.build / f"sam-{phase.image_size}-{phase.patch_size}.state.pt"
        training.resume(state)
        if not run(training, training.advance, steps=phase.steps, state=state, until=arguments.until):
            return  # the next call resumes
        trained = training.average
    assert trained is not None
    export(sharpened(trained, SHARPNESS), CHECKPOINT)
    describe_segmenter(CHECKPOINT)


if __name__ == "__main__":
    main()
