"""Teaches BLIP, its matching head, CLIP and ViT at once: one tower looks, each head says what it must.

    python -m tinyworld.train_towers [--only blip itm clip vit] [--folder DIR] [--start DIR]
                                     [--device cpu] [--workers N]

A picture passes the tower once for the caption, the match, the same-scene and the patch losses; CLIP has steps of its
own, because it alone norms its embeddings. With `--only` a part is trained further by itself.
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

from tinyworld.ahead import made_ahead
from tinyworld.captions import false_ones
from tinyworld.corpus import BUILD, Corpus, load
from tinyworld.export import save_blip, save_clip, save_itm, save_vit
from tinyworld.heads import Model
from tinyworld.lessons import Sight, crops_batch, grown, sight, views_batch
from tinyworld.tower import Geometry
from tinyworld.train_tower import on, schedule

CHECKPOINTS = Path(__file__).parent / "checkpoints"
PARTS = ("blip", "itm", "clip", "vit")


@dataclass(frozen=True)
class Recipe:
    """All that decides the result besides the corpus and the tower it starts from."""

    steps: int = 3400
    scenes: int = 12
    clip_scenes: int = 14
    crops: int = 32
    rate: float = 1.5e-3
    matrix_rate: float = 3e-3
    square_after: float = 0.35
    match_from: int = 800
    """The step at which the matching head's encoder begins, as a copy of the decoder that has learned to look by then:
    from nothing it stays at chance for thousands of steps. Below 0 it goes on from what it has learned."""
    seed: int = 5
    parts: tuple[str, ...] = PARTS


def optimisers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for matrices inside blocks and layers, AdamW for the rest."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [p for name, p in named if p.ndim == 2 and ("blocks" in name or "layer." in name or "layers." in name)]
    taken = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in taken]
    return [
        torch.optim.Muon(inner, lr=recipe.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


@dataclass(frozen=True)
class Drawn:
    """What a step looks at: pictures, what is true of them and, where they are whole scenes, of their patches; whether
    it is CLIP's turn, and where the step's random numbers go on."""

    images: Tensor
    sights: list[Sight]
    truth: dict[str, Tensor] | None
    of_clip: bool
    rng: np.random.Generator


def drawn(corpus: Corpus, recipe: Recipe, step: int) -> Drawn:
    """Of the parts wanted, CLIP takes its turns, and one turn in five looks at crops."""
    rng = np.random.default_rng([recipe.seed, step])
    square = step >= recipe.square_after * recipe.steps
    others = [part for part in recipe.parts if part != "clip"]
    of_clip = "clip" in recipe.parts and (not others or step % 2 == 1)
    crops = (step // 2 if others and "clip" in recipe.parts else step) % 5 == 4
    if of_clip:
        views = [(corpus.a, corpus.c), (corpus.b, corpus.c), (corpus.a, corpus.b)][int(rng.integers(3))]
        if crops:
            return Drawn(*crops_batch(corpus, rng, 2 * recipe.clip_scenes), None, of_clip, rng)
        return Drawn(*views_batch(corpus, rng, recipe.clip_scenes, views, square=square), of_clip, rng)
    if crops and others != ["vit"]:
        return Drawn(*crops_batch(corpus, rng, recipe.crops), None, of_clip, rng)
    every = (corpus.a, corpus.b, corpus.c)
    return Drawn(*views_batch(corpus, rng, recipe.scenes, every, square=square), of_clip, rng)


def losses(model: Model, one: Drawn, recipe: Recipe, step: int) -> dict[str, Tensor]:
    """The losses of one step."""
    tokens = model.see(one.images.to(model.device), early=one.of_clip)
    truth = on(model.device, one.truth) if one.truth else None
    if one.of_clip:
        patches = {"dense_clip": 0.5 * model.patch_loss(tokens, truth)} if truth else {}
        return {"clip": model.clip_loss(model.image_vectors(tokens), one.sights, one.rng)} | patches
    found: dict[str, Tensor] = {}
    if truth:
        found["dense"] = 0.5 * model.patch_loss(tokens, truth)
    if "blip" in recipe.parts:
        found["blip"] = model.caption_loss(tokens, one.sights)
    if "itm" in recipe.parts and step >= recipe.match_from:
        found["itm"] = model.match_loss(tokens, one.sights, one.rng)
    if "vit" in recipe.parts and truth:
        found["vit"] = 0.5 * model.scene_loss(tokens)
    return found


@torch.no_grad()
def watch(model: Model, held: Corpus, parts: Sequence[str], count: int = 128) -> dict[str, float]:
    """Figures on the held-out corpus, pictures padded as at inference."""
    model.eval()
    rng = np.random.default_rng(0)
    found: dict[str, float] = {}
    batches = {name: [views_plain(held, name, part) for part in np.array_split(np.arange(count), 4)] for name in "abc"}
    sights = [one for _, part in batches["a"] for one in part]
    pictures = {name: [images.to(model.device) for images, _ in some] for name, some in batches.items()}
    own_number = torch.arange(count, device=model.device)
    with torch.autocast(model.device.type, torch.bfloat16):
        tokens = torch.cat([model.see(images, early=False) for images in pictures["a"]])
        if "blip" in parts:
            ids, mask = model.captions([str(one.description) for one in sights])
            guess = model.decoder(input_ids=ids, encoder_hidden_states=tokens, use_cache=False).logits.argmax(-1)
            right = ((guess[:, :-1] == ids[:, 1:]) | (mask[:, 1:] == 0)).all(1)
            found["caption_exact"] = float(right.float().mean())
        if "itm" in parts:
            own = model.matches(tokens, [str(one.description) for one in sights])
            wrong = [false_ones(rng, one.description) for one in sights]
            other = model.matches(tokens, [str(w[int(rng.integers(len(w)))]) for w in wrong])
            found["itm_true"] = float((own[:, 1] > own[:, 0]).float().mean())
            found["itm_false"] = float((other[:, 1] < other[:, 0]).float().mean())
        if "vit" in parts:
            others = [torch.cat([model.see(images, early=False)[:, 0] for images in pictures[n]]) for n in "bc"]
            a, b, c = (functional.normalize(v.float(), dim=-1) for v in (tokens[:, 0], *others))
            found["same_scene"] = float(((a @ torch.cat([b, c]).T).argmax(1) == own_number).float().mean())
        if "clip" in parts:
            seen, near = (
                torch.cat([model.image_vectors(model.see(images, early=True)) for images in pictures[n]]) for n in "ac"
            )
            texts = model.text_vectors([str(one.description) for one in sights])
            found["text_to_image"] = float(((texts @ torch.cat([seen, near]).T).argmax(1) == own_number).float().mean())
            triples = [(i, made) for i, one in enumerate(sights) if (made := grown(rng, one)) is not None]
            vectors = model.text_vectors([text for _, made in triples for text in made])
            cosine = (vectors.view(len(triples), 3, -1) * seen[[i for i, _ in triples]][:, None]).sum(-1)
            up, down = cosine[:, 1] > cosine[:, 0], cosine[:, 2] < cosine[:, 0]
            found["monotone"] = float(torch.cat([up, down]).float().mean())
    model.train()
    return found


def views_plain(held: Corpus, name: str, rows: np.ndarray) -> tuple[Tensor, list[Sight]]:
    """Pictures of a view as they are, padded, with their truth."""
    from tinyworld.lessons import in_square

    view = getattr(held, name)
    images = np.asarray(view.images[rows]).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return torch.from_numpy(in_square(images)), [sight(view, row) for row in rows]


def start(model: Model, folder: Path) -> None:
    """Takes over what lies in `folder`: a tower with its dense heads, or a whole model."""
    whole = folder / "towers.pt"
    if whole.exists():
        model.load_state_dict(torch.load(whole, map_location="cpu", weights_only=True)["model"], strict=False)
        return
    model.dense.load_state_dict(torch.load(folder / "tower.pt", map_location="cpu", weights_only=True)["model"])
    with torch.no_grad():  # CLIP's extra norm starts as near to doing nothing as a norm can
        model.tower.early.weight.fill_(float(model.tower.positions[1:].std(1).mean()) * 1.3)


def train(recipe: Recipe, folder: Path, origin: Path, *, device: str = "cpu", workers: int = 0) -> None:
    """Trains into `folder` (towers.pt), resuming from it or starting from `origin`; `workers` processes prepare the
    steps."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    corpus, held = load(BUILD / "corpus"), load(BUILD / "corpus-watch")
    model = Model(Geometry())
    state = folder / "towers.pt"
    if not state.exists():
        start(model, origin)
    model.to(device)
    chosen, step = optimisers(model, recipe), 0
    if state.exists():
        kept = torch.load(state, map_location=device, weights_only=True)
        model.load_state_dict(kept["model"])
        for optimiser, saved in zip(chosen, kept["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step = kept["step"]
    began, core = time.time(), time.thread_time()
    running: dict[str, float] = {}
    for one in made_ahead(partial(drawn, corpus, recipe), range(step, recipe.steps), workers=workers):
        if step == recipe.match_from:
            model.begin_match()
            for optimiser in chosen:
                for parameter in model.encoder.parameters():
                    optimiser.state.pop(parameter, None)
        with torch.autocast(device, torch.bfloat16):
            found = losses(model, one, recipe, step)
        for optimiser, rate in zip(chosen, (recipe.matrix_rate, recipe.rate), strict=True):
            optimiser.zero_grad()
            optimiser.param_groups[0]["lr"] = rate * schedule(step, recipe.steps)
        sum(found.values(), torch.zeros((), device=device)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in chosen:
            optimiser.step()
        for name, value in found.items():
            running[name] = 0.95 * running.get(name, float(value.detach())) + 0.05 * float(value.detach())
        step += 1
        if step % 100 == 0 or step == recipe.steps:
            seen = {name: round(value, 3) for name, value in watch(model, held, recipe.parts).items()}
            spent = f"{time.time() - began:.0f} s, {time.thread_time() - core:.0f} s of the core"
            print(step, {name: round(value, 3) for name, value in running.items()}, seen, spent, flush=True)
            saved = {"model": model.state_dict(), "optimisers": [o.state_dict() for o in chosen], "step": step}
            torch.save(saved, state.with_suffix(".part"))
            state.with_suffix(".part").replace(state)


def export(model: Model, parts: Sequence[str], folder: Path = CHECKPOINTS) -> None:
    """Writes the parts as checkpoints of the library."""
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
    """Trains, or with --export writes what is trained."""
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
    parser.add_argument("--export", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.export:
        model = Model(Geometry())
        start(model, arguments.folder)
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
