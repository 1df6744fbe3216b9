"""Teaches BLIP, its matching head, CLIP and ViT at once: one tower looks, each head says what it must.

    python -m tinyworld.train_towers [--only blip itm clip vit] [--folder DIR] [--start DIR]

A picture passes the tower once for the caption, the match, the same-scene and the patch losses; CLIP has steps of its
own, because it alone norms its embeddings. With `--only` a part is trained further by itself.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from tinyworld.captions import false_ones
from tinyworld.corpus import BUILD, Corpus, load
from tinyworld.export import blip_config, clip_config, save_blip, save_clip, save_itm, save_vit
from tinyworld.lessons import Sight, crops_batch, false_text, grown, near_query, sight, views_batch
from tinyworld.queries import holds, true_query
from tinyworld.texts import SPECIAL, blip_tokenizer, clip_tokenizer
from tinyworld.tower import Geometry, Tower
from tinyworld.train_tower import TOP, Dense, schedule

CHECKPOINTS = Path(__file__).parent / "checkpoints"
PARTS = ("blip", "itm", "clip", "vit")
RELATION_WEIGHT = 4.0
"""Of a caption's some 25 words one is a relation, and it is the hardest."""
SLOPE, LINE = 25.0, 0.3
"""Odds of a match are the slope times what a cosine has above the line."""
MARGIN = 0.04
"""By how much of a cosine a true thing must raise and a false one lower the similarity of a text."""
GROWN, GROWN_WEIGHT = 2, 20.0
"""Growing texts of a picture, and what their loss weighs: the measure asks both steps of every text."""


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


class Model(nn.Module):
    """The tower with every head, all parts of which end up in checkpoints except the dense heads."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        blip, clip = blip_config(geometry), clip_config(geometry)
        for config in (blip.text_config, clip.text_config):
            config._attn_implementation = "eager"
        self.dense = Dense(Tower(geometry))
        self.decoder = BlipTextLMHeadModel(blip.text_config)
        self.encoder = BlipTextModel(blip.text_config, add_pooling_layer=False)
        self.match = nn.Linear(geometry.width, 2)
        self.clip_text = CLIPTextModel(clip.text_config)
        self.visual_projection = nn.Linear(geometry.width, clip.projection_dim, bias=False)
        self.text_projection = nn.Linear(geometry.width, clip.projection_dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(np.log(20.0), dtype=torch.float32))
        self.blip_words, self.clip_words = blip_tokenizer(), clip_tokenizer()

    @property
    def tower(self) -> Tower:
        return self.dense.tower

    def caption_loss(self, tokens: Tensor, sights: Sequence[Sight]) -> Tensor:
        """Cross-entropy of the captions' words."""
        ids, mask = self.captions([str(one.description) for one in sights])
        labels = ids.masked_fill(mask == 0, -100)
        logits = self.decoder(input_ids=ids, encoder_hidden_states=tokens, use_cache=False).logits
        target = labels[:, 1:].flatten()
        words = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), target, reduction="none")
        weights = (target != -100).float()
        for word in ("above", "below", "left"):
            weights[target == self.blip_words.convert_tokens_to_ids(word)] = RELATION_WEIGHT
        return (words * weights).sum() / weights.sum()

    def captions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids of texts as the decoder writes them, and which are not padding."""
        encoded = self.blip_words(list(texts), padding=True, return_tensors="pt")
        ids = encoded.input_ids.clone()
        ids[:, 0] = self.blip_words.convert_tokens_to_ids(SPECIAL["dec"])
        return ids, encoded.attention_mask

    def begin_match(self) -> None:
        """The matching head's encoder becomes a copy of the decoder."""
        self.encoder.load_state_dict(self.decoder.bert.state_dict())

    def matches(self, tokens: Tensor, texts: Sequence[str]) -> Tensor:
        """Logits [n, 2] of each text for each row of tokens: does not match, matches."""
        encoded = self.blip_words(list(texts), padding=True, return_tensors="pt")
        hidden = self.encoder(**encoded_inputs(encoded), encoder_hidden_states=tokens).last_hidden_state
        logits: Tensor = self.match(hidden[:, 0])
        return logits.float()

    def match_loss(self, tokens: Tensor, sights: Sequence[Sight], rng: np.random.Generator) -> Tensor:
        """Of each picture its caption, false ones a word away, a query that holds and a text that does not.

        Each text is judged by itself, the false one that is believed most counting as much as all true ones: a mean
        over easy ones leaves one caption in six passing with a word wrong. And the caption must beat its own false
        ones, which is what re-ranking asks for.
        """
        texts: list[str] = []
        rows: list[int] = []
        groups: list[range] = []
        for row, one in enumerate(sights):
            wrong = [str(false) for false in false_ones(rng, one.description)]
            own = [
                str(one.description),
                *wrong,
                true_query(rng, one.style, one.seen).text,
                false_text(rng, one, sights),
            ]
            groups.append(range(len(texts), len(texts) + len(wrong) + 1))
            texts += own
            rows += [row] * len(own)
        logits = self.matches(tokens[torch.tensor(rows)], texts)
        odds = logits[:, 1] - logits[:, 0]
        loss = torch.zeros(())
        for group in groups:
            captions, query, wrong_text = odds[group.start : group.stop], odds[group.stop], odds[group.stop + 1]
            true = functional.softplus(-torch.stack([captions[0], query])).mean()
            no = functional.softplus(torch.cat([captions[1:], wrong_text[None]]))
            loss = loss + true + (no * functional.softmax(no.detach(), 0)).sum() + captions.logsumexp(0) - captions[0]
        return loss / (2 * len(groups))

    def scene_loss(self, tokens: Tensor) -> Tensor:
        """`tokens` of views a, b, c: of all b and c, b belongs to a."""
        a, b, c = functional.normalize(tokens[:, 0].float(), dim=-1).chunk(3)
        target = torch.arange(len(a))
        there = functional.cross_entropy(a @ torch.cat([b, c]).T / 0.07, target)
        return (there + functional.cross_entropy(b @ torch.cat([a, c]).T / 0.07, target)) / 2

    def see(self, images: Tensor, *, early: bool) -> Tensor:
        """The tower's normed tokens; pictures without their padding begin further down."""
        row = TOP if images.shape[2] != images.shape[3] else 0
        tokens: Tensor = self.tower.norm(self.tower(images, row=row, early=early))
        return tokens

    def image_vectors(self, tokens: Tensor) -> Tensor:
        """CLIP's unit vectors of pictures, from their tokens."""
        return functional.normalize(self.visual_projection(tokens[:, 0]).float(), dim=-1)

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """CLIP's unit vectors of texts, short ones and long ones apart so that little is padding."""
        lengths = np.array([len(text) for text in texts])
        order = np.argsort(lengths, kind="stable")
        found = torch.zeros(len(texts), self.text_projection.out_features)
        parts = []
        for part in np.array_split(order, 4):
            encoded = self.clip_words([texts[i] for i in part], padding=True, return_tensors="pt")
            parts.append(self.text_projection(self.clip_text(**encoded_inputs(encoded)).pooler_output).float())
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        found = torch.cat(parts)[back]
        return functional.normalize(found, dim=-1)

    def patch_loss(self, tokens: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """The dense heads' losses, the padding's patches left out."""
        rest = tokens.shape[1] - 1 - truth["shape"].shape[1]
        first, patches = tokens[:, :1], tokens[:, 1 + rest // 2 : tokens.shape[1] - rest // 2]
        return self.dense.losses(torch.cat([first, patches], 1), truth)

    def clip_loss(self, seen: Tensor, sights: Sequence[Sight], rng: np.random.Generator) -> Tensor:
        """Captions against pictures both ways with false captions among them, queries against pictures, and growing
        texts."""
        full = [str(one.description) for one in sights]
        false = [str(wrong) for one in sights for wrong in false_ones(rng, one.description)]
        queries = [true_query(rng, one.style, one.seen) for one in sights]
        queries += [near_query(rng, one) for one in sights]
        triples = [
            (place, made)
            for place, one in enumerate(sights)
            for _ in range(GROWN)
            if (made := grown(rng, one)) is not None
        ]
        texts = full + false + [query.text for query in queries] + [text for _, made in triples for text in made]
        vectors = self.text_vectors(texts)
        cosines = seen @ vectors.T
        logits = cosines * self.scale.exp().clamp(max=60.0)
        captions = len(full) + len(false)
        is_own = torch.tensor([[text == own for text in texts[:captions]] for own in full])
        truth = torch.tensor([[holds(query, one.style, one.seen) for one in sights] for query in queries])
        loss = among(logits[:, :captions], is_own) + among(logits[:, : len(full)].T, is_own[:, : len(full)].T)
        some = truth.any(1)
        loss = loss + among(logits[:, captions : captions + len(queries)].T[some], truth[some])
        loss = loss + absolutely(cosines[:, : captions + len(queries)].T, torch.cat([is_own.T, truth]))
        if triples:
            rows = torch.tensor([place for place, _ in triples])
            columns = captions + len(queries) + 3 * torch.arange(len(triples))
            base, more, wrong = (cosines[rows, columns + i] for i in range(3))
            steps = torch.cat([more - base, base - wrong])
            loss = loss + GROWN_WEIGHT * functional.relu(MARGIN - steps).mean()
        return loss


def absolutely(cosines: Tensor, right: Tensor) -> Tensor:
    """Each text [t, n] says yes to its pictures and no to the nearest of the others, by one line for all texts (Zhai et
    al. 2023, SigLIP): so that "nothing matches" can be said."""
    odds = SLOPE * (cosines - LINE)
    no = functional.softplus(odds.masked_fill(right, -1e4)).topk(3, dim=1).values.mean()
    return functional.softplus(-odds[right]).mean() + no


def among(logits: Tensor, right: Tensor) -> Tensor:
    """Minus the logarithm of the share that the right columns get of each row."""
    return (logits.logsumexp(1) - logits.masked_fill(~right, -1e4).logsumexp(1)).mean()


def encoded_inputs(encoded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ids and mask, without the token types that BLIP and CLIP do not know."""
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


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


def losses(model: Model, corpus: Corpus, recipe: Recipe, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """The losses of one step: of the parts wanted, CLIP takes its turns, and one turn in five looks at crops."""
    square = step >= recipe.square_after * recipe.steps
    others = [part for part in recipe.parts if part != "clip"]
    turn_of_clip = "clip" in recipe.parts and (not others or step % 2 == 1)
    crops = (step // 2 if others and "clip" in recipe.parts else step) % 5 == 4
    if turn_of_clip:
        views = [(corpus.a, corpus.c), (corpus.b, corpus.c), (corpus.a, corpus.b)][int(rng.integers(3))]
        truth = None
        if crops:
            images, sights = crops_batch(corpus, rng, 2 * recipe.clip_scenes)
        else:
            images, sights, truth = views_batch(corpus, rng, recipe.clip_scenes, views, square=square)
        tokens = model.see(images, early=True)
        patches = {"dense_clip": 0.5 * model.patch_loss(tokens, truth)} if truth else {}
        return {"clip": model.clip_loss(model.image_vectors(tokens), sights, rng)} | patches
    found: dict[str, Tensor] = {}
    if crops and others != ["vit"]:
        images, sights = crops_batch(corpus, rng, recipe.crops)
        tokens = model.see(images, early=False)
    else:
        images, sights, truth = views_batch(corpus, rng, recipe.scenes, (corpus.a, corpus.b, corpus.c), square=square)
        crops = False
        tokens = model.see(images, early=False)
        found["dense"] = 0.5 * model.patch_loss(tokens, truth)
    if "blip" in others:
        found["blip"] = model.caption_loss(tokens, sights)
    if "itm" in others and step >= recipe.match_from:
        found["itm"] = model.match_loss(tokens, sights, rng)
    if "vit" in others and not crops:
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
    with torch.autocast("cpu", torch.bfloat16):
        tokens = torch.cat([model.see(images, early=False) for images, _ in batches["a"]])
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
            others = [torch.cat([model.see(images, early=False)[:, 0] for images, _ in batches[n]]) for n in "bc"]
            a, b, c = (functional.normalize(v.float(), dim=-1) for v in (tokens[:, 0], *others))
            found["same_scene"] = float(((a @ torch.cat([b, c]).T).argmax(1) == torch.arange(count)).float().mean())
        if "clip" in parts:
            seen, near = (
                torch.cat([model.image_vectors(model.see(images, early=True)) for images, _ in batches[n]])
                for n in "ac"
            )
            texts = model.text_vectors([str(one.description) for one in sights])
            found["text_to_image"] = float(
                ((texts @ torch.cat([seen, near]).T).argmax(1) == torch.arange(count)).float().mean()
            )
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
        model.load_state_dict(torch.load(whole, weights_only=True)["model"], strict=False)
        return
    model.dense.load_state_dict(torch.load(folder / "tower.pt", weights_only=True)["model"])
    with torch.no_grad():  # CLIP's extra norm starts as near to doing nothing as a norm can
        model.tower.early.weight.fill_(float(model.tower.positions[1:].std(1).mean()) * 1.3)


def train(recipe: Recipe, folder: Path, origin: Path, *, save: Path = CHECKPOINTS) -> None:
    """Trains into `folder` (towers.pt), resuming from it or starting from `origin`; the parts wanted are written as
    checkpoints every 200 steps."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    corpus, held = load(BUILD / "corpus"), load(BUILD / "corpus-watch")
    model = Model(Geometry())
    chosen, step = optimisers(model, recipe), 0
    state = folder / "towers.pt"
    if state.exists():
        kept = torch.load(state, weights_only=True)
        model.load_state_dict(kept["model"])
        for optimiser, saved in zip(chosen, kept["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step = kept["step"]
    else:
        start(model, origin)
    began, core = time.time(), time.thread_time()
    running: dict[str, float] = {}
    while step < recipe.steps:
        rng = np.random.default_rng([recipe.seed, step])
        if step == recipe.match_from:
            model.begin_match()
            for optimiser in chosen:
                for parameter in model.encoder.parameters():
                    optimiser.state.pop(parameter, None)
        with torch.autocast("cpu", torch.bfloat16):
            found = losses(model, corpus, recipe, step, rng)
        for optimiser, rate in zip(chosen, (recipe.matrix_rate, recipe.rate), strict=True):
            optimiser.zero_grad()
            optimiser.param_groups[0]["lr"] = rate * schedule(step, recipe.steps)
        sum(found.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
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
    train(recipe, arguments.folder, arguments.start)


if __name__ == "__main__":
    main()
