"""Whether a text is true of a picture: BLIP's image–text matching head (Li et al. 2022), slow and accurate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models import checkpoint
from processors.models.checkpoint import ResolvedPrecision
from processors.models.model_card import Fit, ModelCard
from processors.models.out_of_memory import translate_out_of_memory
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained

BATCH_SIZE = 64
"""Pictures or pairs in one forward pass."""


class Itm(Pretrained):
    """A cross-encoder: it reads a text and a picture together."""

    architecture = "BlipForImageTextRetrieval"
    title = "BLIP's matching head"

    def __init__(self, folder: Path, model: Any, *, device: str, precision: ResolvedPrecision, fit: Fit) -> None:
        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self._tokenizer = checkpoint.load_tokenizer(folder)
        self._most_tokens = int(model.config.text_config.max_position_embeddings)

    def match(self, texts: Sequence[str], images: Sequence[Image]) -> NDArray[np.float32]:
        """Log-odds [n] that each text is true of the picture beside it, uint8 RGB [height, width, 3].

        A picture that stands beside several texts (the same object) is encoded once. Raises `OutOfMemory`, and
        ValueError when there are not as many texts as pictures.
        """
        if len(texts) != len(images):
            raise ValueError(f"{len(texts)} texts beside {len(images)} pictures")
        distinct = {id(image): image for image in images}
        features = dict(zip(distinct, self.encode_images(list(distinct.values())), strict=True))
        return self.match_features(texts, [features[id(image)] for image in images])

    def encode_images(self, images: Sequence[Image]) -> list[Any]:
        """The vision tower's features of each picture (a tensor [s, w]), for `match_features`.

        This is most of the work, and worth keeping where many texts are compared with the same pictures. Raises
        `OutOfMemory`.
        """
        import torch

        features: list[Any] = []
        with translate_out_of_memory(), torch.inference_mode():
            for first in range(0, len(images), BATCH_SIZE):
                pixels = self.preprocess(images[first : first + BATCH_SIZE]).to(self.device, self._model.dtype)
                states = self._model.vision_model(pixel_values=pixels).last_hidden_state
                features += [state.clone() for state in states]  # a view would keep the whole batch alive
        return features

    def match_features(self, texts: Sequence[str], features: Sequence[Any]) -> NDArray[np.float32]:
        """Log-odds [n] that each text is true of the picture whose features stand beside it. Raises `OutOfMemory`."""
        odds = [
            self._log_odds(texts[first : first + BATCH_SIZE], features[first : first + BATCH_SIZE])
            for first in range(0, len(texts), BATCH_SIZE)
        ]
        return np.concatenate(odds) if odds else np.zeros(0, np.float32)

    def _log_odds(self, texts: Sequence[str], features: Sequence[Any]) -> NDArray[np.float32]:
        import torch

        with translate_out_of_memory(), torch.inference_mode():
            tokens = self._tokenizer(
                list(texts), padding=True, truncation=True, max_length=self._most_tokens, return_tensors="pt"
            ).to(self.device)
            image_states = torch.stack(list(features))
            mask = torch.ones(image_states.shape[:-1], dtype=torch.long, device=self.device)
            text_states = self._model.text_encoder(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                encoder_hidden_states=image_states,
                encoder_attention_mask=mask,
            ).last_hidden_state
            scores = self._model.itm_head(text_states[:, 0]).float()
            return np.asarray((scores[:, 1] - scores[:, 0]).cpu().numpy(), np.float32)

    def check_answer(self, card: ModelCard, picture: Image) -> None:
        """`card.expected` is `{"text": …, "log_odds": …}`; `tolerance["log_odds"]` is the allowed difference."""
        expected = card.expected
        log_odds = float(self.match([expected["text"]], [picture])[0])
        if not abs(log_odds - expected["log_odds"]) <= card.tolerance.get("log_odds", 0.5):
            raise WrongWeights(
                f"{self.folder}: wrong log-odds of {expected['text']!r} on the reference picture: "
                f"{log_odds:.2f}, not {expected['log_odds']:.2f}"
            )
