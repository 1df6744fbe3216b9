"""The shared tower with all of its heads, and their losses: captions, matches, CLIP, same scene, patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from tinyworld.captions import false_descriptions
from tinyworld.dense_heads import DenseHeads
from tinyworld.export import blip_config, clip_config
from tinyworld.queries import holds, true_query
from tinyworld.tokenizers import SPECIAL, blip_tokenizer, clip_tokenizer
from tinyworld.tower import TOP, Geometry, Tower
from tinyworld.training_batches import Facts, false_text, growing_texts, near_query

RELATION_WEIGHT = 4.0
"""A caption has about 25 words. One is a relation, and it is the hardest."""
SLOPE, THRESHOLD = 25.0, 0.3
"""The log-odds of a match are the slope times the difference between cosine and threshold."""
MARGIN = 0.04
"""A true thing must raise the cosine of a text by this much, a false one lower it by as much."""
GROWING_TEXTS, GROWING_WEIGHT = 3, 40.0
"""Growing texts per picture, and the weight of their loss: the figure needs both steps of every text."""


class JointModel(nn.Module):
    """The tower with all heads; every part except the dense heads becomes part of a checkpoint.

    The modules' attribute names are keys of saved trainings.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        blip, clip = blip_config(geometry), clip_config(geometry)
        for config in (blip.text_config, clip.text_config):
            config._attn_implementation = "eager"
        self.dense = DenseHeads(Tower(geometry))
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
        """Texts and truth are moved here."""
        return self.scale.device

    def caption_loss(self, tokens: Tensor, facts: Sequence[Facts]) -> Tensor:
        """Weighted cross-entropy of the captions' words."""
        ids, mask = self.captions([str(each.description) for each in facts])
        labels = ids.masked_fill(mask == 0, -100)
        logits = self.decoder(input_ids=ids, encoder_hidden_states=tokens, use_cache=False).logits
        target = labels[:, 1:].flatten()
        words = functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), target, reduction="none")
        weights = (target != -100).float()
        for word in ("above", "below", "left"):
            weights[target == self.blip_words.convert_tokens_to_ids(word)] = RELATION_WEIGHT
        return (words * weights).sum() / weights.sum()

    def captions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids of texts as the decoder writes them, and the mask of those that are not padding."""
        encoded = self.blip_words(list(texts), padding=True, return_tensors="pt").to(self.device)
        ids = encoded.input_ids.clone()
        ids[:, 0] = self.blip_words.convert_tokens_to_ids(SPECIAL["dec"])
        return ids, encoded.attention_mask

    def begin_match(self) -> None:
        """Copy the decoder into the matching head's encoder."""
        self.encoder.load_state_dict(self.decoder.bert.state_dict())

    def matches(self, tokens: Tensor, texts: Sequence[str]) -> Tensor:
        """Logits [n, 2] of each text with its row of tokens: no match, match."""
        encoded = self.blip_words(list(texts), padding=True, return_tensors="pt").to(self.device)
        hidden = self.encoder(**encoded_inputs(encoded), encoder_hidden_states=tokens).last_hidden_state
        logits: Tensor = self.match(hidden[:, 0])
        return logits.float()

    def match_loss(self, tokens: Tensor, facts: Sequence[Facts], rng: np.random.Generator) -> Tensor:
        """Each picture against its caption, false captions one word away, a true query and a false text.

        Each text is scored by itself; the false text with the highest odds weighs as much as all true ones, because a
        mean over easy ones leaves one caption in six accepted with a wrong word. In addition the caption must score
        above its false versions, as re-ranking needs.
        """
        texts: list[str] = []
        rows: list[int] = []
        groups: list[range] = []
        for row, each in enumerate(facts):
            wrong = [str(false) for false in false_descriptions(rng, each.description)]
            own = [
                str(each.description),
                *wrong,
                true_query(rng, each.style, each.seen).text,
                false_text(rng, each, facts),
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
        """Of `tokens` of views a, b and c: among all b and c, the b of the same scene is nearest to a, and a to b."""
        a, b, c = functional.normalize(tokens[:, 0].float(), dim=-1).chunk(3)
        target = torch.arange(len(a), device=a.device)
        there = functional.cross_entropy(a @ torch.cat([b, c]).T / 0.07, target)
        return (there + functional.cross_entropy(b @ torch.cat([a, c]).T / 0.07, target)) / 2

    def see(self, images: Tensor, *, early: bool) -> Tensor:
        """The tower's normalized tokens; pictures without padding begin at row `TOP` of the square."""
        row = TOP if images.shape[2] != images.shape[3] else 0
        tokens: Tensor = self.tower.norm(self.tower(images, row=row, early=early))
        return tokens

    def image_vectors(self, tokens: Tensor) -> Tensor:
        """CLIP's unit vectors of pictures, from the tower's tokens."""
        return functional.normalize(self.visual_projection(tokens[:, 0]).float(), dim=-1)

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """CLIP's unit vectors of texts, encoded in groups of similar length to keep padding small."""
        lengths = np.array([len(text) for text in texts])
        order = np.argsort(lengths, kind="stable")
        parts = []
        for part in np.array_split(order, 4):
            encoded = self.clip_words([texts[i] for i in part], padding=True, return_tensors="pt").to(self.device)
            parts.append(self.text_projection(self.clip_text(**encoded_inputs(encoded)).pooler_output).float())
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        return functional.normalize(torch.cat(parts)[back], dim=-1)

    def patch_loss(self, tokens: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """The dense heads' losses without the patches of the padding."""
        rest = tokens.shape[1] - 1 - truth["shape"].shape[1]
        first, patches = tokens[:, :1], tokens[:, 1 + rest // 2 : tokens.shape[1] - rest // 2]
        return self.dense.losses(torch.cat([first, patches], 1), truth)

    def clip_loss(self, seen: Tensor, facts: Sequence[Facts], rng: np.random.Generator) -> Tensor:
        """Captions (false ones among them) against pictures both ways, queries against pictures, and growing texts."""
        full = [str(each.description) for each in facts]
        false = [str(wrong) for each in facts for wrong in false_descriptions(rng, each.description)]
        queries = [true_query(rng, each.style, each.seen) for each in facts]
        queries += [near_query(rng, each) for each in facts]
        triples = [
            (row, made)
            for row, each in enumerate(facts)
            for _ in range(GROWING_TEXTS)
            if (made := growing_texts(rng, each)) is not None
        ]
        texts = full + false + [query.text for query in queries] + [text for _, made in triples for text in made]
        vectors = self.text_vectors(texts)
        cosines = seen @ vectors.T
        logits = cosines * self.scale.exp().clamp(max=60.0)
        captions = len(full) + len(false)
        is_own = torch.tensor([[text == own for text in texts[:captions]] for own in full], device=self.device)
        holding = [[holds(query, each.style, each.seen) for each in facts] for query in queries]
        truth = torch.tensor(holding, device=self.device)
        loss = contrastive_loss(logits[:, :captions], is_own) + contrastive_loss(
            logits[:, : len(full)].T, is_own[:, : len(full)].T
        )
        has_match = truth.any(1)
        loss = loss + contrastive_loss(logits[:, captions : captions + len(queries)].T[has_match], truth[has_match])
        loss = loss + sigmoid_loss(cosines[:, : captions + len(queries)].T, torch.cat([is_own.T, truth]))
        if triples:
            rows = torch.tensor([row for row, _ in triples])
            columns = captions + len(queries) + 3 * torch.arange(len(triples))
            base, more, wrong = (cosines[rows, columns + i] for i in range(3))
            steps = torch.cat([more - base, base - wrong])
            loss = loss + GROWING_WEIGHT * functional.relu(MARGIN - steps).mean()
        return loss


def sigmoid_loss(cosines: Tensor, right: Tensor) -> Tensor:
    """Each text [t, n] accepts its own pictures and rejects the nearest others, by one threshold for all texts.

    That (Zhai et al. 2023, SigLIP) is what makes "nothing matches" a possible answer.
    """
    odds = SLOPE * (cosines - THRESHOLD)
    no = functional.softplus(odds.masked_fill(right, -1e4)).topk(3, dim=1).values.mean()
    return functional.softplus(-odds[right]).mean() + no


def contrastive_loss(logits: Tensor, right: Tensor) -> Tensor:
    """Minus the logarithm of the right columns' share of each row's softmax."""
    return (logits.logsumexp(1) - logits.masked_fill(~right, -1e4).logsumexp(1)).mean()


def encoded_inputs(encoded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Ids and mask, without the token types, which BLIP and CLIP do not take."""
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}
