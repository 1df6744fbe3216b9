"""Loads what a search needs: both embedding models, the calibration beside the weights, the known words."""

from __future__ import annotations

from pathlib import Path

from schemas.points import collection
from search.calibrate import load as load_calibration
from search.retrieve import Searcher, SearcherSettings
from search.words import load_vocabulary
from sightline.config import Config
from sightline.weights import chosen_device, with_weights
from sightline.working import worker_settings
from stores.index import Index


def load_searcher(config: Config, index: Index) -> Searcher:
    """Blocking: loads models. Raises WrongWeights, BadCalibration."""
    from processors.models.clip import Clip
    from processors.models.vit import Vit

    embed, device = with_weights(config, "embed"), chosen_device(config.worker.device)
    precision, fit = embed.get("precision", "auto"), embed.get("fit") or None
    folder = Path(embed["weights"]).expanduser()
    return Searcher(
        index,
        Clip.load(folder, device=device, precision=precision, fit=fit),
        Vit.load(embed["visual_weights"], device=device, precision=precision, fit=fit),
        load_calibration(folder),
        load_vocabulary(folder),
        SearcherSettings(
            tenant=config.tenant,
            threshold=config.search.threshold,
            collection=collection("frames", worker_settings(config).model_set),
        ),
    )
