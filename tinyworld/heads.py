"""The one tower with every head that looks through it, and what each is taught by: captions, matches, CLIP, scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from tinyworld.captions import false_ones
from tinyworld.export import blip_config, clip_config
from tinyworld.lessons import Sight, false_text, grown, near_query
from tinyworld.queries import holds, true_query
from tinyworld.texts import SPECIAL, blip_tokenizer, clip_tokenizer
from tinyworld.tower import Geometry, Tower
from tinyworld.train_tower import TOP, Dense

RELATION_WEIGHT = 4.0
"""Of a caption's some 25 words one is a relation, and it is the hardest."""
SLOPE, LINE = 25.0, 0.3
"""Odds of a match are the slope times what a cosine has above the line."""
MARGIN = 0.04
"""By how much of a cosine a true thing must raise and a false one lower the similarity of a text."""
GROWN, GROWN_WEIGHT = 3, 40.0
"""Growing texts of a picture, and what their loss weighs: the measure asks both steps of every text."""


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

    @property
    def device(self) -> torch.device:
        """Where it is; texts and truth are brought there."""
        return self.scale.device

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
        encoded = self.blip_words(list(texts), padding=True, return_tensors="pt").to(self.device)
        ids = encoded.input_ids.clone()
        ids[:, 0] = self.blip_words.convert_tokens_to_ids(SPECIAL["dec"])
        return ids, encoded.attention_mask

    def begin_match(self) -> None:
        """The matching head's encoder becomes a copy of the decoder."""
        self.encoder.load_state_dict(self.decoder.bert.state_dict())

    def matches(self, tokens: Tensor, texts: Sequence[str]) -> Tensor:
        """Logits [n, 2] of each text for each row of tokens: does not match, matches."""
        encoded = self.blip_words(list(texts), padding=True, return_tensors="pt").to(self.device)
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
        loss = torch.zeros((), device=self.device)
        for group in groups:
            captions, query, wrong_text = odds[group.start : group.stop], odds[group.stop], odds[group.stop + 1]
            true = functional.softplus(-torch.stack([captions[0], query])).mean()
            no = functional.softplus(torch.cat([captions[1:], wrong_text[None]]))
            loss = loss + true + (no * functional.softmax(no.detach(), 0)).sum() + captions.logsumexp(0) - captions[0]
        return loss / (2 * len(groups))

    def scene_loss(self, tokens: Tensor) -> Tensor:
        """`tokens` of views a, b, c: of all b and c, b belongs to a."""
        a, b, c = functional.normalize(tokens[:, 0].float(), dim=-1).chunk(3)
        target = torch.arange(len(a), device=a.device)
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
        parts = []
        for part in np.array_split(order, 4):
            encoded = self.clip_words([texts[i] for i in part], padding=True, return_tensors="pt").to(self.device)
            parts.append(self.text_projection(self.clip_text(**encoded_inputs(encoded)).pooler_output).float())
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        return functional.normalize(torch.cat(parts)[back], dim=-1)

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
        is_own = torch.tensor([[text == own for text in texts[:captions]] for own in full], device=self.device)
        holding = [[holds(query, one.style, one.seen) for one in sights] for query in queries]
        truth = torch.tensor(holding, device=self.device)
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
