"""Copies of log, index and pictures that `restore --replace` and `repair` have set aside: nothing erases from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sightline.config import Config
from sightline.wiring.lost_log import index_folder, log_path, picture_folder

ASIDE = ("before", "damaged")
"""Of `NAME.before-TIME` and `NAME.damaged-TIME`."""


def older_copies(config: Config) -> Sequence[Path]:
    parts = (log_path(config), index_folder(config), picture_folder(config))
    found = [
        path
        for part in parts
        if part is not None
        for aside in ASIDE
        for path in part.parent.glob(f"{part.name}*.{aside}-*")
    ]
    return sorted(set(found))
