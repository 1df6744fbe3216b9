"""Captions by BLIP (Li et al. 2022) through transformers, greedily, with a decoding loop of our own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processors.errors import WrongWeights
from processors.models import checkpoint
from processors.models.checkpoint import ResolvedPrecision
from processors.models.domain import answers
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
        """A caption of each picture, uint8 RGB [height, width, 3], beginning with its prompt.

        Prompts of unequal length in one batch would change each other's captions, so each length is a batch of its
        own. Raises `OutOfMemory`.
        """
        prompts = prompts or [""] * len(images)
        tokenized = {prompt: self._prompt_tokens(prompt) for prompt in set(prompts)}
        starts = [tokenized[prompt] for prompt in prompts]
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for row, start in enumerate(starts):
            by_length[len(start)].append(row)
        captions = [""] * len(images)
        for rows in by_length.values():
            texts = self._batch([images[i] for i in rows], [starts[i] for i in rows], most_tokens, least_tokens)
            for row, text in zip(rows, texts, strict=True):
                captions[row] = text
        return captions

    def caption_in_domain(
        self,
        images: Sequence[Image],
        prompts: Sequence[str] | None = None,
        *,
        most_tokens: int = MOST_TOKENS,
        least_tokens: int = 0,
    ) -> list[str | None]:
        """As `caption`; None for a picture outside the model's domain, of which a caption would be made up."""

        def caption(rows: Sequence[int]) -> list[str]:
            theirs = [prompts[row] for row in rows] if prompts else None
            chosen = [images[row] for row in rows]
            return self.caption(chosen, theirs, most_tokens=most_tokens, least_tokens=least_tokens)

        return answers(self.domain, images, caption)

    def _batch(
        self, images: Sequence[Image], starts: Sequence[Sequence[int]], most_tokens: int, least_tokens: int
    ) -> list[str]:
        """Captions of pictures whose prompts have equally many tokens."""
        import torch

        config = self._model.config.text_config
        with translate_out_of_memory(), torch.inference_mode():
            pixels = self.preprocess(images).to(self.device, self._model.dtype)
            image_states = self._model.vision_model(pixel_values=pixels).last_hidden_state
            tokens = self._decoder.generate(
                image_states,
                torch.tensor(starts, device=self.device),
                end=config.sep_token_id,
                pad=config.pad_token_id,
                most_tokens=most_tokens,
                least_tokens=least_tokens,
            )
        decoded = self._tokenizer.batch_decode(tokens[:, 1:].tolist(), skip_special_tokens=True)
        return [" ".join(text.split()) for text in decoded]

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
