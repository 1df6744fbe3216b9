"""Trains BLIP, its matching head, CLIP and ViT together on one vision tower.

    python -m tinyworld.train_joint [--only blip itm clip vit] [--folder DIR] [--start DIR]
                                     [--device cpu] [--workers N]

A picture passes through the tower once for the caption, match, same-scene and patch losses. CLIP has steps of its own,
because only CLIP normalizes its embeddings. With `--only` a part is trained further by itself.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tinyworld.captions import false_descriptions
from tinyworld.corpus import BUILD, Corpus, load
from tinyworld.export import save_blip, save_clip, save_itm, save_vit
from tinyworld.joint_model import JointModel
from tinyworld.patch_truth import on_device
from tinyworld.prefetch import prefetched
from tinyworld.pretrain_tower import schedule
from tinyworld.resumable import load_state, save_state
from tinyworld.tower import Geometry
from tinyworld.training_batches import Facts, crops_batch, facts_at, growing_texts, pad_to_square, views_batch

CHECKPOINTS = Path(__file__).parent / "checkpoints"
PARTS = ("blip", "itm", "clip", "vit")


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result besides the corpus and the initial tower."""

    steps: int = 3400
    scenes: int = 12
    clip_scenes: int = 14
    crops: int = 32
    rate: float = 1.5e-3
    matrix_rate: float = 3e-3
    square_after: float = 0.35
    match_from: int = 800
    """The step at which the matching head's encoder starts, as a copy of the decoder, which attends to pictures by
    then. From random weights it stays at chance for thousands of steps. Below 0 it continues from its own state."""
    seed: int = 5
    parts: tuple[str, ...] = PARTS


def optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside blocks and layers, AdamW for the rest."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [p for name, p in named if p.ndim == 2 and ("blocks" in name or "layer." in name or "layers." in name)]
    inner_ids = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in inner_ids]
    return [
        torch.optim.Muon(inner, lr=recipe.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


@dataclass(frozen=True)
class Batch:
    """Pictures of a step with their facts.

    `truth` is that of their patches, for whole scenes only; `of_clip` marks CLIP's own steps; `rng` draws the texts.
    """

    images: Tensor
    facts: list[Facts]
    truth: dict[str, Tensor] | None
    of_clip: bool
    rng: np.random.Generator


def sample_step(corpus: Corpus, recipe: Recipe, step: int) -> Batch:
    """The batch of a step: CLIP and the other parts alternate, and one step in five shows crops."""
    rng = np.random.default_rng([recipe.seed, step])
    square = step >= recipe.square_after * recipe.steps
    others = [part for part in recipe.parts if part != "clip"]
    of_clip = "clip" in recipe.parts and (not others or step % 2 == 1)
    crops = (step // 2 if others and "clip" in recipe.parts else step) % 5 == 4
    if of_clip:
        views = [(corpus.a, corpus.c), (corpus.b, corpus.c), (corpus.a, corpus.b)][int(rng.integers(3))]
        if crops:
            return Batch(*crops_batch(corpus, rng, 2 * recipe.clip_scenes), None, of_clip, rng)
        return Batch(*views_batch(corpus, rng, recipe.clip_scenes, views, square=square), of_clip, rng)
    if crops and others != ["vit"]:
        return Batch(*crops_batch(corpus, rng, recipe.crops), None, of_clip, rng)
    every = (corpus.a, corpus.b, corpus.c)
    return Batch(*views_batch(corpus, rng, recipe.scenes, every, square=square), of_clip, rng)


def losses(model: JointModel, batch: Batch, recipe: Recipe, step: int) -> dict[str, Tensor]:
    """The losses of one step."""
    tokens = model.see(batch.images.to(model.device), early=batch.of_clip)
    truth = on_device(model.device, batch.truth) if batch.truth else None
    if batch.of_clip:
        patches = {"dense_clip": 0.5 * model.patch_loss(tokens, truth)} if truth else {}
        return {"clip": model.clip_loss(model.image_vectors(tokens), batch.facts, batch.rng)} | patches
    parts: dict[str, Tensor] = {}
    if truth:
        parts["dense"] = 0.5 * model.patch_loss(tokens, truth)
    if "blip" in recipe.parts:
        parts["blip"] = model.caption_loss(tokens, batch.facts)
    if "itm" in recipe.parts and step >= recipe.match_from:
        parts["itm"] = model.match_loss(tokens, batch.facts, batch.rng)
    if "vit" in recipe.parts and truth:
        parts["vit"] = 0.5 * model.scene_loss(tokens)
    return parts


@torch.no_grad()
def validate(model: JointModel, held_out: Corpus, parts: Sequence[str], count: int = 128) -> dict[str, float]:
    """Figures on the held-out corpus, with pictures padded as at inference."""
    model.eval()
    rng = np.random.default_rng(0)
    figures: dict[str, float] = {}
    batches = {
        name: [plain_batch(held_out, name, part) for part in np.array_split(np.arange(count), 4)] for name in "abc"
    }
    facts = [each for _, batch in batches["a"] for each in batch]
    pictures = {name: [images.to(model.device) for images, _ in group] for name, group in batches.items()}
    own_number = torch.arange(count, device=model.device)
    with torch.autocast(model.device.type, torch.bfloat16):
        tokens = torch.cat([model.see(images, early=False) for images in pictures["a"]])
        if "blip" in parts:
            ids, mask = model.captions([str(each.description) for each in facts])
            guess = model.decoder(input_ids=ids, encoder_hidden_states=tokens, use_cache=False).logits.argmax(-1)
            right = ((guess[:, :-1] == ids[:, 1:]) | (mask[:, 1:] == 0)).all(1)
            figures["caption_exact"] = float(right.float().mean())
        if "itm" in parts:
            own = model.matches(tokens, [str(each.description) for each in facts])
            wrong = [false_descriptions(rng, each.description) for each in facts]
            other = model.matches(tokens, [str(w[int(rng.integers(len(w)))]) for w in wrong])
            figures["itm_true"] = float((own[:, 1] > own[:, 0]).float().mean())
            figures["itm_false"] = float((other[:, 1] < other[:, 0]).float().mean())
        if "vit" in parts:
            others = [torch.cat([model.see(images, early=False)[:, 0] for images in pictures[n]]) for n in "bc"]
            a, b, c = (functional.normalize(v.float(), dim=-1) for v in (tokens[:, 0], *others))
            figures["same_scene"] = float(((a @ torch.cat([b, c]).T).argmax(1) == own_number).float().mean())
        if "clip" in parts:
            seen, near = (
                torch.cat([model.image_vectors(model.see(images, early=True)) for images in pictures[n]]) for n in "ac"
            )
            texts = model.text_vectors([str(each.description) for each in facts])
            figures["text_to_image"] = float(
                ((texts @ torch.cat([seen, near]).T).argmax(1) == own_number).float().mean()
            )
            triples = [(i, made) for i, each in enumerate(facts) if (made := growing_texts(rng, each)) is not None]
            vectors = model.text_vectors([text for _, made in triples for text in made])
            cosine = (vectors.view(len(triples), 3, -1) * seen[[i for i, _ in triples]][:, None]).sum(-1)
            up, down = cosine[:, 1] > cosine[:, 0], cosine[:, 2] < cosine[:, 0]
            figures["monotone"] = float(torch.cat([up, down]).float().mean())
    model.train()
    return figures


def plain_batch(held_out: Corpus, name: str, rows: np.ndarray) -> tuple[Tensor, list[Facts]]:
    """Pictures of a view without augmentation, padded, with their facts."""
    view = getattr(held_out, name)
    images = np.asarray(view.images[rows]).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return torch.from_numpy(pad_to_square(images)), [facts_at(view, row) for row in rows]


def start_from(model: JointModel, folder: Path) -> None:
    """Load the weights in `folder`: a tower with its dense heads, or a whole model."""
    whole = folder / "towers.pt"
    if whole.exists():
        model.load_state_dict(torch.load(whole, map_location="cpu", weights_only=True)["model"], strict=False)
        return
    model.dense.load_state_dict(torch.load(folder / "tower.pt", map_location="cpu", weights_only=True)["model"])
    with torch.no_grad():  # CLIP's additional norm starts as close to the identity as a norm can
        model.tower.early.weight.fill_(float(model.tower.positions[1:].std(1).mean()) * 1.3)


def train(recipe: Recipe, folder: Path, origin: Path, *, device: str = "cpu", workers: int = 0) -> None:
    """Train into `folder` (towers.pt), resuming from the state there or starting from `origin`.

    `workers` processes prepare the steps.
    """
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    corpus, held_out = load(BUILD / "corpus"), load(BUILD / "corpus-watch")
    model = JointModel(Geometry())
    state = folder / "towers.pt"
    if not state.exists():
        start_from(model, origin)
    model.to(device)
    chain = optimizers(model, recipe)
    step = load_state(state, model, chain, device=device)
    began, core = time.time(), time.thread_time()
    running: dict[str, float] = {}
    for batch in prefetched(partial(sample_step, corpus, recipe), range(step, recipe.steps), workers=workers):
        if step == recipe.match_from:
            model.begin_match()
            for optimizer in chain:
                for parameter in model.encoder.parameters():
                    optimizer.state.pop(parameter, None)
        with torch.autocast(device, torch.bfloat16):
            parts = losses(model, batch, recipe, step)
        for optimizer, rate in zip(chain, (recipe.matrix_rate, recipe.rate), strict=True):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = rate * schedule(step, recipe.steps)
        sum(parts.values(), torch.zeros((), device=device)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in chain:
            optimizer.step()
        for name, value in parts.items():
            running[name] = 0.95 * running.get(name, float(value.detach())) + 0.05 * float(value.detach())
        step += 1
        if step % 100 == 0 or step == recipe.steps:
            figures = {name: round(value, 3) for name, value in validate(model, held_out, recipe.parts).items()}
            spent = f"{time.time() - began:.0f} s, {time.thread_time() - core:.0f} s of the core"
            print(step, {name: round(value, 3) for name, value in running.items()}, figures, spent, flush=True)
            save_state(state, model, chain, step)


def export(model: JointModel, parts: Sequence[str], folder: Path = CHECKPOINTS) -> None:
    """Write the parts as checkpoints of transformers."""
    if "blip" in parts:
        save_blip(folder / "blip", model.tower, model.decoder.state_dict())
    if "itm" in parts:
        save_itm(folder / "blip_itm", model.tower, model.encoder.state_dict(), model.match.state_dict(), {})
    if "clip" in parts:
        projections = {n: getattr(model, n).state_dict() for n in ("visual_projection", "text_projection")}
        save_clip(folder / "clip", model.tower, model.clip_text.state_dict(), projections, model.scale.detach())
    if "vit" in parts:
        save_vit(folder / "vit", model.tower)


def main() -> None:
    """Train, or with --export write the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=BUILD / "towers")
    parser.add_argument("--start", type=Path, default=BUILD / "tower")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--matrix-rate", type=float, default=Recipe.matrix_rate)
    parser.add_argument("--scenes", type=int, default=Recipe.scenes)
    parser.add_argument("--match-from", type=int, default=Recipe.match_from)
    parser.add_argument("--square-after", type=float, default=Recipe.square_after)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare the steps")
    parser.add_argument("--export", action="store_true", help="write the trained parts as checkpoints")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.export:
        model = JointModel(Geometry())
        start_from(model, arguments.folder)
        export(model, arguments.only)
        return
    recipe = replace(
        Recipe(),
        steps=arguments.steps,
        parts=tuple(arguments.only),
        rate=arguments.rate,
        matrix_rate=arguments.matrix_rate,
        square_after=arguments.square_after,
        scenes=arguments.scenes,
        match_from=arguments.match_from,
    )
    train(recipe, arguments.folder, arguments.start, device=arguments.device, workers=arguments.workers)


if __name__ == "__main__":
    main()
