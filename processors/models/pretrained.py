"""What the adapters over transformers' classes share: loading, and the check against the card beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from processors.models import checkpoint
from processors.models.checkpoint import Precision, ResolvedPrecision
from processors.models.domain import Domain
from processors.models.model_card import Fit, ModelCard, check_revision, read_card, reference_picture
from processors.models.preprocess import Image, Preprocessor


class Pretrained:
    """A model in a folder. `revision` names weights, preprocessing and fit."""

    architecture: ClassVar[str]
    """The class of transformers that loads it."""
    title: ClassVar[str]
    """What a user calls it."""
    options: ClassVar[dict[str, Any]] = {}
    """Passed to the class beside the folder."""

    def __init__(self, folder: Path, model: Any, *, device: str, precision: ResolvedPrecision, fit: Fit) -> None:
        self.folder, self.device, self.precision = folder, device, precision
        self.card: ModelCard | None = read_card(folder)
        self.domain = Domain.load(folder)
        self.preprocess = Preprocessor.from_folder(folder, fit)
        self.revision = checkpoint.revision(folder, fit)
        self.name = folder.name
        self._model = model

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", precision: Precision = "auto", fit: Fit | None = None
    ) -> Self:
        """Load the model in `folder`; `fit` None takes the card's, else `pad`. Raises `WrongWeights`."""
        path, resolved = (
            checkpoint.checkpoint_folder(folder, cls.title),
            checkpoint.resolve_precision(precision, device),
        )
        model = checkpoint.load_model(path, cls.architecture, device=device, precision=resolved, **cls.options)
        card = read_card(path)
        return cls(path, model, device=device, precision=resolved, fit=fit or (card.fit if card else "pad"))

    def check_reference(self) -> None:
        """Raise `WrongWeights` when the revision or the answer to the reference picture differ from the card's.

        Without a card, or at another fit than the card's, there is nothing to compare with.
        """
        if self.card is None or self.card.fit != self.preprocess.fit:
            return
        check_revision(self.folder, self.card, self.revision)
        if self.card.expected is not None:
            self.check_answer(self.card, reference_picture(self.folder))

    def check_answer(self, card: ModelCard, picture: Image) -> None:
        """Compare the answer to the reference `picture` with `card.expected`. Raises `WrongWeights`."""
        raise NotImplementedError
