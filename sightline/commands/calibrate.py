"""`sightline calibrate`: make scores probabilities for weights that were shipped without a calibration."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from schemas.points import SEMANTIC
from search.calibrate import Calibration, Curve, fit, nearest_read, save
from search.models import Matcher
from search.score import MATCHED, TEXT
from sightline.commands.oneshot import read_picture
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err, out
from sightline.wiring.searcher import load_matcher
from sightline.wiring.weights import chosen_device, with_weights

if TYPE_CHECKING:
    from processors.models.clip import Clip

Vectors = NDArray[np.float32]
Places = NDArray[np.intp]
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
    Where the preset has a matching head, a second curve is fitted on what it reads, for the search to re-rank by.
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
    pictures, rows = np.concatenate(vectors), rows[::2]
    try:
        curves = {TEXT: fitted(clip, rows, pictures, None)}
        if (matcher := load_matcher(config, device)) is not None:
            with err.status("the matching head reads each text's nearest pictures"):
                curves[MATCHED[0]] = fitted(clip, rows, pictures, matcher)
    except ValueError as error:
        raise UsageError(f"{pairs}: {error}") from None
    folder = Path(table["weights"]).expanduser()
    save(Calibration(revision=clip.revision, curves=curves, references={SEMANTIC: pictures[1::2]}), folder)
    for name, curve in curves.items():
        out.print(f"{name}: calibrated on {curve.queries} texts and {curve.pictures} pictures: AUROC {curve.auroc:.3f}")
    out.print(f"a picture is shown from a probability of {curves[TEXT].threshold:.0%}; kept in {folder}")


def fitted(clip: Clip, rows: Sequence[tuple[Path, str]], pictures: Vectors, matcher: Matcher | None) -> Curve:
    """The curve of every second picture and its text, `rows`; the others are references. Raises ValueError."""
    texts, seen = [text for _, text in rows], pictures[::2]
    matches, asked = np.array([[other == text for other in texts] for text in texts]), clip.embed_texts(texts)

    if matcher is None:
        return fit(asked, seen, matches, pictures[1::2])

    def read(queries: Places, places: Places) -> Vectors:
        distinct: Places = np.unique(places)
        looks = dict(zip(distinct, matcher.look([read_picture(rows[place][0]) for place in distinct]), strict=True))
        return matcher.read([texts[query] for query in queries], [looks[place] for place in places])

    return fit(asked, seen, matches, pictures[1::2], nearest_read(read, asked @ seen.T))


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
