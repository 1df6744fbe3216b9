"""Loads what a search needs: both embedding models, the calibration beside the weights, the known words."""

from __future__ import annotations

from pathlib import Path

from schemas.points import collection
from search.calibrate import load as load_calibration
from search.models import Matcher
from search.retrieve import Searcher, SearcherSettings
from search.score import Scorer
from search.words import load_vocabulary
from sightline.config import Config
from sightline.wiring.build_worker import worker_settings
from sightline.wiring.weights import chosen_device, preset_folders, with_weights
from stores.blobs import BlobStore
from stores.index import Index


def load_searcher(config: Config, index: Index, blobs: BlobStore) -> Searcher:
    """Blocking: loads models. The matching head reads pictures from `blobs`. Raises WrongWeights, BadCalibration."""
    from processors.models.clip import Clip
    from processors.models.vit import Vit

    embed, device = with_weights(config, "embed"), chosen_device(config.worker.device)
    precision, fit = embed.get("precision", "auto"), embed.get("fit") or None
    folder = Path(embed["weights"]).expanduser()
    calibration = load_calibration(folder)
    return Searcher(
        index,
        Clip.load(folder, device=device, precision=precision, fit=fit),
        Vit.load(embed["visual_weights"], device=device, precision=precision, fit=fit),
        calibration,
        load_vocabulary(folder),
        SearcherSettings(
            tenant=config.tenant,
            threshold=config.search.threshold,
            collection=collection("frames", worker_settings(config).model_set),
        ),
        load_matcher(config, device) if Scorer(calibration).rereads else None,
        blobs,
    )


def load_matcher(config: Config, device: str) -> Matcher | None:
    """The preset's matching head, where it has one."""
    from processors.models.itm import Itm

    folder = preset_folders(config).get("matching")
    return Itm.load(folder, device=device) if folder is not None and folder.exists() else None
