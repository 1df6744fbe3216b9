"""Greedy decoding for BLIP's text decoder, with the keys and values of both attentions cached.

transformers runs the same network through its general loop, masks and growing caches, which at small batches costs
several times the arithmetic. The network's own modules and weights are called here; a test compares the tokens with
those of `generate`. The architecture is BERT's with cross-attention (Li et al. 2022: BLIP, `med.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

KeysAndValues = tuple[Tensor, Tensor]
"""Each [n, heads, positions, w / heads]."""


class GreedyDecoder:
    """`decoder` is a `BlipTextLMHeadModel` in evaluation mode."""

    def __init__(self, decoder: Any) -> None:
        self._embed, self._layers, self._head = decoder.bert.embeddings, decoder.bert.encoder.layer, decoder.cls
        self._heads = int(decoder.config.num_attention_heads)
        self._most_positions = int(decoder.config.max_position_embeddings)

    @torch.inference_mode()
    def generate(
        self, image_states: Tensor, prompt: Tensor, *, end: int, pad: int, most_tokens: int, least_tokens: int = 0
    ) -> Tensor:
        """Tokens [n, p + t]: `prompt` [n, p] and its continuation for the pictures `image_states` [n, s, w].

        t is at most `most_tokens`. A row is finished at `end`, which is not taken before `least_tokens`; after it
        `pad` follows.
        """
        rows, prompt_length = prompt.shape
        most = min(prompt_length + most_tokens, self._most_positions)
        tokens = torch.full((rows, most), pad, dtype=torch.long, device=prompt.device)
        tokens[:, :prompt_length] = prompt
        cross = [self._image_cache(layer.crossattention.self, image_states) for layer in self._layers]
        own = [self._empty_cache(layer, rows, most, image_states) for layer in self._layers]
        finished = torch.zeros(rows, dtype=torch.bool, device=prompt.device)
        first = 0
        for position in range(prompt_length, most):
            logits = self._step(tokens[:, first:position], first, own, cross)
            if position - prompt_length < least_tokens:
                logits[:, end] = -torch.inf
            tokens[:, position] = torch.where(finished, pad, logits.argmax(-1))
            finished |= tokens[:, position] == end
            first = position
            if bool(finished.all()):
                return tokens[:, : position + 1]
        return tokens

    def _step(self, tokens: Tensor, first: int, own: list[KeysAndValues], cross: list[KeysAndValues]) -> Tensor:
        """Logits [n, vocabulary] after `tokens` [n, q], which stand at positions `first` and after.

        `own` and `cross` are the caches of self-attention and of attention to the picture, one per layer.
        """
        hidden = self._embed(input_ids=tokens, past_key_values_length=first)
        last = first + tokens.shape[1]
        for layer, (keys, values), (image_keys, image_values) in zip(self._layers, own, cross, strict=True):
            attention = layer.attention.self
            keys[:, :, first:last], values[:, :, first:last] = self._keys_and_values(attention, hidden)
            query = self._split(attention.query(hidden))
            mixed = attend(query, keys[:, :, :last], values[:, :, :last], causal=True)
            hidden = layer.attention.output(self._joined(mixed), hidden)
            query = self._split(layer.crossattention.self.query(hidden))
            mixed = attend(query, image_keys, image_values, causal=False)
            hidden = layer.crossattention.output(self._joined(mixed), hidden)
            hidden = layer.feed_forward_chunk(hidden)
        logits: Tensor = self._head(hidden[:, -1])
        return logits.float()

    def _keys_and_values(self, attention: Any, states: Tensor) -> KeysAndValues:
        return self._split(attention.key(states)), self._split(attention.value(states))

    def _image_cache(self, attention: Any, image_states: Tensor) -> KeysAndValues:
        """Keys and values of the picture, in the memory layout that every step reads."""
        keys, values = self._keys_and_values(attention, image_states)
        return keys.contiguous(), values.contiguous()

    def _empty_cache(self, layer: Any, rows: int, most: int, like: Tensor) -> KeysAndValues:
        """Room for `most` positions, of the type and on the device of `like`."""
        width = layer.attention.self.all_head_size // self._heads
        return like.new_empty((rows, self._heads, most, width)), like.new_empty((rows, self._heads, most, width))

    def _split(self, states: Tensor) -> Tensor:
        """[n, q, w] to [n, heads, q, w / heads]."""
        rows, count, width = states.shape
        return states.view(rows, count, self._heads, width // self._heads).transpose(1, 2)

    @staticmethod
    def _joined(mixed: Tensor) -> Tensor:
        """[n, heads, q, w / heads] to [n, q, w]."""
        rows, heads, count, width = mixed.shape
        return mixed.transpose(1, 2).reshape(rows, count, heads * width)


def attend(query: Tensor, keys: Tensor, values: Tensor, *, causal: bool) -> Tensor:
    """Attention [n, heads, q, d] of the last q of k positions; with `causal` a query sees no later position.

    torch's fused attention on a CPU takes half as long again as the plain products when there is one query (BLIP base,
    batch of 8: 9.6 ms against 6.5 ms a layer), which is every step but the first.
    """
    if query.shape[2] > 1 or query.is_cuda:
        return scaled_dot_product_attention(query, keys, values, is_causal=causal and query.shape[2] > 1)
    weights = torch.softmax(query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5, dim=-1)
    return weights @ values
