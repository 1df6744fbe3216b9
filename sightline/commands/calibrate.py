"""`sightline calibrate`: fit the curves that turn scores into probabilities, for weights without a calibration."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from processors.models.checkpoint import checkpoint_folder
from schemas.points import SEMANTIC
from search.calibrate import CURVES_FILE, Calibration, Curve, fit, nearest_log_odds, save
from search.models import Matcher
from search.score import MATCHED, TEXT
from sightline.config import Config
from sightline.terminal.options import CommandError, UsageError, configured, err, out
from sightline.terminal.outputs import check_output
from sightline.terminal.pictures import read_picture
from sightline.terminal.render import counted
from sightline.terminal.signals import doing
from sightline.wiring.models import load_clip, load_matcher
from sightline.wiring.weights import EMBED, with_weights

if TYPE_CHECKING:
    from processors.models.clip import Clip

Vectors = NDArray[np.float32]
Indices = NDArray[np.intp]
MIN_PAIRS = 40
"""Half are pictures to match, half references; a fit on fewer would follow chance."""
BATCH_PICTURES = 16

Pairs = Annotated[
    Path,
    typer.Argument(
        help="A tab-separated file with a picture's path and a true text per line. Use texts that people would search "
        "for and that are true of few other pictures."
    ),
]


@configured
def calibrate(config: Config, pairs: Pairs) -> None:
    """Fit the curve that turns cosine similarities into probabilities, and store it beside the model's weights.

    Half of the pictures become the reference set over which a query's mean is computed; the curve is fitted on the
    rest. If the preset has a matching head, a second curve is fitted on its outputs, by which a search re-ranks.
    """
    rows = read_pairs(pairs)
    if absent := [str(picture) for picture, _ in rows if not picture.is_file()]:
        raise CommandError(f"{pairs}: {counted(len(absent), 'picture')} missing, first {absent[0]}")
    folder = Path(with_weights(config, EMBED)["weights"]).expanduser()
    checkpoint_folder(folder, "CLIP")
    check_output(folder / CURVES_FILE)
    with doing("loading models"):
        clip = load_clip(config)
    with doing("fitting"):
        pictures, rows = _embed_pictures(clip, [path for path, _ in rows]), rows[::2]
        try:
            curves = {TEXT: fitted_curve(clip, rows, pictures, None)}
            if (matcher := load_matcher(config)) is not None:
                with err.status("computing the matching head's outputs for each text's nearest pictures"):
                    curves[MATCHED[0]] = fitted_curve(clip, rows, pictures, matcher)
        except ValueError as error:
            raise UsageError(f"{pairs}: {error}") from None
    save(Calibration(revision=clip.revision, curves=curves, references={SEMANTIC: pictures[1::2]}), folder)
    for name, curve in curves.items():
        counts = f"{counted(curve.queries, 'text')} and {counted(curve.pictures, 'picture')}"
        out.print(f"{name}: fitted on {counts}, AUROC {curve.auroc:.3f}")
    threshold = curves[TEXT].threshold
    out.print(f"Calibration written to {folder}; searches show pictures from a probability of {threshold:.0%}")


def _embed_pictures(clip: Clip, paths: Sequence[Path]) -> Vectors:
    vectors = []
    with err.status("") as status:
        for first in range(0, len(paths), BATCH_PICTURES):
            status.update(f"{first} of {len(paths)} pictures embedded")
            vectors.append(clip.embed_images([read_picture(path) for path in paths[first : first + BATCH_PICTURES]]))
    return np.concatenate(vectors)


def fitted_curve(clip: Clip, rows: Sequence[tuple[Path, str]], pictures: Vectors, matcher: Matcher | None) -> Curve:
    """The curve of every second picture and its text, `rows`; the others are references. Raises ValueError."""
    texts, candidates = [text for _, text in rows], pictures[::2]
    matches = np.array([[other == text for other in texts] for text in texts])
    queries = clip.embed_texts(texts)
    if matcher is None:
        return fit(queries, candidates, matches, pictures[1::2])

    def read(query_indices: Indices, picture_indices: Indices) -> Vectors:
        distinct: Indices = np.unique(picture_indices)
        features = dict(
            zip(distinct, matcher.encode_images([read_picture(rows[index][0]) for index in distinct]), strict=True)
        )
        return matcher.match_features(
            [texts[index] for index in query_indices], [features[index] for index in picture_indices]
        )

    return fit(queries, candidates, matches, pictures[1::2], nearest_log_odds(read, queries @ candidates.T))


def read_pairs(path: Path) -> list[tuple[Path, str]]:
    """Pictures (relative to the file) and texts. Raises UsageError, naming the line."""
    try:
        lines = list(csv.reader(path.read_text("utf-8").splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    wrong = [number for number, line in enumerate(lines, 1) if line and len(line) != 2]
    if wrong:
        raise UsageError(f"{path}:{wrong[0]}: a path, a tab and a text are expected")
    rows = [(path.parent / line[0], line[1].strip()) for line in lines if line]
    if len(rows) < MIN_PAIRS:
        raise UsageError(
            f"{path}: {counted(len(rows), 'pair')}; a fit needs at least {MIN_PAIRS}, better some hundreds"
        )
    return rows
