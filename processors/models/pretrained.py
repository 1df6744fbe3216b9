"""What the adapters over transformers' classes share: loading, and being held to the card beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from processors.models import loading
from processors.models.card import Card, Fit, check_revision, read_card, reference_picture
from processors.models.preprocess import Image, Preprocess


class Pretrained:
    """A model in a folder. `revision` names weights, preprocessing and fit; `words` are those it was trained on."""

    architecture: ClassVar[str]
    """The class of transformers that loads it."""
    title: ClassVar[str]
    """What a user calls it."""
    options: ClassVar[dict[str, Any]] = {}
    """Passed to the class beside the folder."""

    def __init__(self, folder: Path, model: Any, *, device: str, precision: loading.Exact, fit: Fit) -> None:
        self.folder, self.device, self.precision = folder, device, precision
        self.card: Card | None = read_card(folder)
        self.words = self.card.words if self.card else ()
        self.preprocess = Preprocess.of(folder, fit)
        self.revision = loading.revision(folder, fit)
        self.name = folder.name
        self._model = model

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", precision: loading.Precision = "auto", fit: Fit | None = None
    ) -> Self:
        """`fit` None: as the card beside the weights says, else `pad`. Raises `WrongWeights`."""
        path, exact = loading.existing(folder, cls.title), loading.exact(precision, device)
        model = loading.load_model(path, cls.architecture, device=device, precision=exact, **cls.options)
        card = read_card(path)
        return cls(path, model, device=device, precision=exact, fit=fit or (card.fit if card else "pad"))

    def check_reference(self) -> None:
        """Raises `WrongWeights` when the revision, or the answer to the reference picture, are not those of the card.
        Without a card, and at another fit than the card's, there is nothing to hold the weights to."""
        if self.card is None or self.card.fit != self.preprocess.fit:
            return
        check_revision(self.folder, self.card, self.revision)
        if self.card.expected is not None:
            self.check_answer(self.card, reference_picture(self.folder))

    def check_answer(self, card: Card, picture: Image) -> None:
        """Hold the answer to the reference `picture` to `card.expected`. Raises `WrongWeights`."""
        raise NotImplementedError
