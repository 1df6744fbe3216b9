"""`sightline calibrate`: make scores probabilities for weights that were shipped without a calibration."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from schemas.points import SEMANTIC
from search.calibrate import Calibration, fit, save
from search.score import TEXT
from sightline.commands.oneshot import read_picture
from sightline.config import Config
from sightline.options import UsageError, configured, err, out
from sightline.weights import chosen_device, with_weights

LEAST_PAIRS = 40
"""Half are pictures to match, half references; fewer fit a curve to chance."""
AT_ONCE = 16

Pairs = Annotated[
    Path,
    typer.Argument(
        help="A tab-separated file: a picture's path and a text that is true of it, one pair a line. "
        "Texts should be such as people search for, and true of few of the other pictures."
    ),
]


@configured
def calibrate(config: Config, pairs: Pairs) -> None:
    """Fit the curve that turns cosines into probabilities, and keep it beside the model's weights.

    Half of the pictures become the reference set that a query's mean is taken over; the curve is fitted on the rest.
    """
    from processors.models.clip import Clip

    rows = read_pairs(pairs)
    table, device = with_weights(config, "embed"), chosen_device(config.worker.device)
    clip = Clip.load(
        table["weights"], device=device, precision=table.get("precision", "auto"), fit=table.get("fit") or None
    )
    vectors = []
    with err.status("") as status:
        for first in range(0, len(rows), AT_ONCE):
            status.update(f"embedding {first} of {len(rows)} pictures")
            vectors.append(clip.embed_images([read_picture(path) for path, _ in rows[first : first + AT_ONCE]]))
    pictures, texts = np.concatenate(vectors), [text for _, text in rows[::2]]
    matches = np.array([[other == text for other in texts] for text in texts])
    try:
        curve = fit(clip.embed_texts(texts), pictures[::2], matches, pictures[1::2])
    except ValueError as error:
        raise UsageError(f"{pairs}: {error}") from None
    folder = Path(table["weights"]).expanduser()
    save(Calibration(revision=clip.revision, curves={TEXT: curve}, references={SEMANTIC: pictures[1::2]}), folder)
    out.print(f"calibrated on {curve.queries} texts and {curve.pictures} pictures: AUROC {curve.auroc:.3f}")
    out.print(f"a picture is shown from a probability of {curve.threshold:.0%}; kept in {folder}")


def read_pairs(path: Path) -> list[tuple[Path, str]]:
    """Pictures (relative to the file) and texts. Raises UsageError naming the line."""
    try:
        lines = list(csv.reader(path.read_text("utf-8").splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    wrong = [number for number, line in enumerate(lines, 1) if line and len(line) != 2]
    if wrong:
        raise UsageError(f"{path}:{wrong[0]}: a path, a tab and a text are expected")
    rows = [(path.parent / line[0], line[1].strip()) for line in lines if line]
    if len(rows) < LEAST_PAIRS:
        raise UsageError(f"{path}: {len(rows)} pairs; a fit needs {LEAST_PAIRS} at least, some hundreds are better")
    return rows
