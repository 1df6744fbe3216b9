"""Whether a text is true of a picture: BLIP's image–text matching head (Li et al. 2022), slow and right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models import loading
from processors.models.card import Card, Fit
from processors.models.memory import out_of_memory_named
from processors.models.preprocess import Image
from processors.models.pretrained import Pretrained

PAIRS_AT_ONCE = 64


class Itm(Pretrained):
    """Reads a text and a picture together."""

    architecture = "BlipForImageTextRetrieval"
    title = "BLIP's matching head"

    def __init__(self, folder: Path, model: Any, *, device: str, precision: loading.Exact, fit: Fit) -> None:
        super().__init__(folder, model, device=device, precision=precision, fit=fit)
        self._tokenizer = loading.load_tokenizer(folder)
        self._most_tokens = int(model.config.text_config.max_position_embeddings)

    def match(self, texts: Sequence[str], images: Sequence[Image]) -> NDArray[np.float32]:
        """Log-odds [n] that each text is true of the picture beside it, uint8 RGB [height, width, 3].

        A picture that stands beside several texts (the same object) is looked at once. Raises `OutOfMemory`.
        """
        if len(texts) != len(images):
            raise ValueError(f"{len(texts)} texts beside {len(images)} pictures")
        distinct = {id(image): image for image in images}
        looks = dict(zip(distinct, self.look(list(distinct.values())), strict=True))
        return self.read(texts, [looks[id(image)] for image in images])

    def look(self, images: Sequence[Image]) -> list[Any]:
        """What the vision tower makes of each picture (a tensor [s, w]), for `read`: most of the work, and worth
        keeping where many texts are asked of the same pictures. Raises `OutOfMemory`."""
        import torch

        looks: list[Any] = []
        with out_of_memory_named(), torch.inference_mode():
            for first in range(0, len(images), PAIRS_AT_ONCE):
                pixels = self.preprocess(images[first : first + PAIRS_AT_ONCE]).to(self.device, self._model.dtype)
                states = self._model.vision_model(pixel_values=pixels).last_hidden_state
                looks += [state.clone() for state in states]  # a view would keep the whole batch alive
        return looks

    def read(self, texts: Sequence[str], looks: Sequence[Any]) -> NDArray[np.float32]:
        """Log-odds [n] that each text is true of the look beside it. Raises `OutOfMemory`."""
        odds = [
            self._odds(texts[first : first + PAIRS_AT_ONCE], looks[first : first + PAIRS_AT_ONCE])
            for first in range(0, len(texts), PAIRS_AT_ONCE)
        ]
        return np.concatenate(odds) if odds else np.zeros(0, np.float32)

    def _odds(self, texts: Sequence[str], looks: Sequence[Any]) -> NDArray[np.float32]:
        import torch

        with out_of_memory_named(), torch.inference_mode():
            tokens = self._tokenizer(
                list(texts), padding=True, truncation=True, max_length=self._most_tokens, return_tensors="pt"
            ).to(self.device)
            states = torch.stack(list(looks))
            mask = torch.ones(states.shape[:-1], dtype=torch.long, device=self.device)
            words = self._model.text_encoder(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
            ).last_hidden_state
            scores = self._model.itm_head(words[:, 0]).float()
            return np.asarray((scores[:, 1] - scores[:, 0]).cpu().numpy(), np.float32)

    def check_answer(self, card: Card, picture: Image) -> None:
        """`expected` is `{"text": …, "log_odds": …}`, `tolerance["log_odds"]` how far the log-odds may be off."""
        expected = card.expected
        found = float(self.match([expected["text"]], [picture])[0])
        if not abs(found - expected["log_odds"]) <= card.tolerance.get("log_odds", 0.5):
            raise WrongWeights(
                f"{self.folder}: wrong log-odds of {expected['text']!r} on the reference picture: "
                f"{found:.2f}, not {expected['log_odds']:.2f}"
            )
