"""Captions by BLIP (Li et al. 2022) through transformers, greedily, with a decoding loop of our own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models import checkpoint
from processors.models.checkpoint import ResolvedPrecision
from processors.models.domain import patch_means
from processors.models.model_card import Fit, ModelCard
from processors.models.out_of_memory import translate_out_of_memory
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained

MOST_TOKENS = 48
"""A sentence of thirty words; tinyworld's longest captions, of four things, have some forty tokens."""


class Blip(Pretrained):
    """BLIP's captioning model."""

    architecture = "BlipForConditionalGeneration"
    title = "BLIP"

    def __init__(self, folder: Path, model: Any, *, device: str, precision: ResolvedPrecision, fit: Fit) -> None:
        from processors.models.greedy_decoder import GreedyDecoder

        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self._tokenizer = checkpoint.load_tokenizer(folder)
        self._decoder = GreedyDecoder(model.text_decoder)

    def caption(
        self,
        images: Sequence[Image],
        prompts: Sequence[str] | None = None,
        *,
        most_tokens: int = MOST_TOKENS,
        least_tokens: int = 0,
    ) -> list[str]:
        """As `caption_in_domain`; empty for a picture outside the model's domain."""
        captions = self.caption_in_domain(images, prompts, most_tokens=most_tokens, least_tokens=least_tokens)
        return [text or "" for text in captions]

    def caption_in_domain(
        self,
        images: Sequence[Image],
        prompts: Sequence[str] | None = None,
        *,
        most_tokens: int = MOST_TOKENS,
        least_tokens: int = 0,
    ) -> list[str | None]:
        """A caption of each picture, uint8 RGB [height, width, 3], beginning with its prompt.

        None for a picture outside the model's domain: a caption would be made up. Prompts of unequal length in one
        batch would change each other's captions, so each length is a batch of its own. Raises `OutOfMemory`.
        """
        prompts = prompts or [""] * len(images)
        tokenized = {prompt: self._prompt_tokens(prompt) for prompt in set(prompts)}
        starts = [tokenized[prompt] for prompt in prompts]
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for row, start in enumerate(starts):
            by_length[len(start)].append(row)
        captions: list[str | None] = [None] * len(images)
        for rows in by_length.values():
            texts = self._batch([images[i] for i in rows], [starts[i] for i in rows], most_tokens, least_tokens)
            for row, text in zip(rows, texts, strict=True):
                captions[row] = text
        return captions

    def _batch(
        self, images: Sequence[Image], starts: Sequence[Sequence[int]], most_tokens: int, least_tokens: int
    ) -> list[str | None]:
        """Captions of pictures whose prompts have equally many tokens; None outside the model's domain."""
        import torch

        config = self._model.config.text_config
        with translate_out_of_memory(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            image_states, inside = self._look(pixels)
            if not inside.any():
                return [None] * len(images)
            tokens = self._decoder.generate(
                image_states[torch.from_numpy(inside)],
                torch.tensor(np.asarray(starts)[inside], device=self.device),
                end=config.sep_token_id,
                pad=config.pad_token_id,
                most_tokens=most_tokens,
                least_tokens=least_tokens,
            )
        decoded = self._tokenizer.batch_decode(tokens[:, 1:].tolist(), skip_special_tokens=True)
        texts = iter(" ".join(text.split()) for text in decoded)
        return [next(texts) if known else None for known in inside]

    def _look(self, pixels: Any) -> tuple[Any, NDArray[np.bool_]]:
        """What the vision tower makes of pictures, and which of them are in the model's domain."""
        if self.domain is None:
            return self._model.vision_model(pixel_values=pixels).last_hidden_state, np.ones(len(pixels), np.bool_)
        output = self._model.vision_model(pixel_values=pixels, output_hidden_states=True)
        return output.last_hidden_state, ~self.domain.outside(patch_means(output.hidden_states))

    def _prompt_tokens(self, prompt: str) -> list[int]:
        """The prompt's tokens after BLIP's own begin token, which is not the tokenizer's, and without an end token."""
        tokens = self._tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
        return [self._model.config.text_config.bos_token_id, *tokens]

    def check_answer(self, card: ModelCard, picture: Image) -> None:
        """`card.expected` is the caption. Raises `WrongWeights` for another one."""
        caption = self.caption([picture])[0]
        if caption != card.expected:
            raise WrongWeights(
                f"{self.folder}: wrong caption of the reference picture: {caption!r}, not {card.expected!r}"
            )
