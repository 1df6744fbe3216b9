"""Captions by BLIP (Li et al. 2022) through transformers, greedily, with a decoding loop of our own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processors.errors import WrongWeights
from processors.models import loading
from processors.models.card import Card, Fit
from processors.models.memory import out_of_memory_named
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained

MOST_TOKENS = 48
"""A sentence of thirty words; tinyworld's longest captions, of four things, have some forty tokens."""


class Blip(Pretrained):
    """BLIP's captioning model."""

    architecture = "BlipForConditionalGeneration"
    title = "BLIP"

    def __init__(self, folder: Path, model: Any, *, device: str, precision: loading.Exact, fit: Fit) -> None:
        from processors.models.decoding import GreedyDecoder

        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self._tokenizer = loading.load_tokenizer(folder)
        self._decoder = GreedyDecoder(model.text_decoder)

    def caption(
        self,
        images: Sequence[Image],
        prompts: Sequence[str] | None = None,
        *,
        most_tokens: int = MOST_TOKENS,
        least_tokens: int = 0,
    ) -> list[str]:
        """A caption of each picture, uint8 RGB [height, width, 3], beginning with its prompt.

        Prompts of unequal length in one batch would change each other's captions, so each length is a batch of its
        own. Raises `OutOfMemory`.
        """
        lengths: defaultdict[int, list[int]] = defaultdict(list)
        prompts = prompts or [""] * len(images)
        begun = {prompt: self._start(prompt) for prompt in set(prompts)}
        starts = [begun[prompt] for prompt in prompts]
        for place, start in enumerate(starts):
            lengths[len(start)].append(place)
        texts = [""] * len(images)
        for places in lengths.values():
            found = self._batch([images[i] for i in places], [starts[i] for i in places], most_tokens, least_tokens)
            for place, text in zip(places, found, strict=True):
                texts[place] = text
        return texts

    def _batch(
        self, images: Sequence[Image], starts: Sequence[Sequence[int]], most_tokens: int, least_tokens: int
    ) -> list[str]:
        import torch

        text = self._model.config.text_config
        with out_of_memory_named(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            seen = self._model.vision_model(pixel_values=pixels).last_hidden_state
            tokens = self._decoder.generate(
                seen,
                torch.tensor(starts, device=self.device),
                end=text.sep_token_id,
                pad=text.pad_token_id,
                most_tokens=most_tokens,
                least_tokens=least_tokens,
            )
        decoded = self._tokenizer.batch_decode(tokens[:, 1:].tolist(), skip_special_tokens=True)
        return [" ".join(one.split()) for one in decoded]

    def _start(self, prompt: str) -> list[int]:
        """The prompt's tokens behind BLIP's own beginning, which is not the tokenizer's, and without an end."""
        words = self._tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
        return [self._model.config.text_config.bos_token_id, *words]

    def check_answer(self, card: Card, picture: Image) -> None:
        found = self.caption([picture])[0]
        if found != card.expected:
            raise WrongWeights(
                f"{self.folder}: wrong caption of the reference picture: {found!r}, not {card.expected!r}"
            )
