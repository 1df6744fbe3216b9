"""`sightline calibrate`: the file that it takes, and that a search uses what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tinyworld
from processors.models.checkpoint import revision
from schemas.points import SEMANTIC
from search.calibrate import CURVES_FILE, REFERENCES_FILE, load
from search.score import MATCHED, TEXT
from sightline.commands.calibrate import MIN_PAIRS, read_pairs
from sightline.terminal.options import UsageError
from tests.unit.sightline.conftest import Typed

TINYWORLD = Path(next(iter(tinyworld.__path__)))
SAMPLES = TINYWORLD / "samples"


def test_pairs_are_read_beside_their_file(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("a.jpg\ta dog\n\n" * MIN_PAIRS, encoding="utf-8")
    rows = read_pairs(file)
    assert (len(rows), rows[0]) == (MIN_PAIRS, (tmp_path / "a.jpg", "a dog"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\ta dog\nb.jpg a cat\n", r"pairs\.tsv:2: a path, a tab and a text"),
        ("a.jpg\ta dog\n" * (MIN_PAIRS - 1), f"{MIN_PAIRS - 1} pairs; a fit needs at least {MIN_PAIRS}"),
    ],
    ids=["no tab", "too few"],
)
def test_a_mistake_in_the_file_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_pairs(tmp_path / "pairs.tsv")


@pytest.mark.timeout(600)
def test_the_calibration_of_own_weights_lies_where_a_search_reads_it(typed: Typed, tmp_path: Path) -> None:
    weights = tmp_path / "own"
    shutil.copytree(TINYWORLD / "checkpoints" / "clip", weights)
    for name in (CURVES_FILE, REFERENCES_FILE):
        (weights / name).unlink(missing_ok=True)
    truth = json.loads((SAMPLES / "truth.json").read_text())["stills"]
    pairs = [f"{SAMPLES / name}\t{caption.split('. ')[0]}" for name, caption in sorted(truth.items())] * 2
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs), encoding="utf-8")
    result = typed("calibrate", "pairs.tsv", "--set", f"stages.embed.weights={weights}")
    assert result.exit_code == 0, result.stderr
    assert "AUROC" in result.stdout
    calibration = load(weights)
    assert calibration is not None
    assert calibration.revision == revision(weights, "pad")
    assert calibration.references[SEMANTIC].shape[0] == len(pairs) // 2
    assert calibration.curves[TEXT].auroc > 0.5
    assert "matching" in calibration.curves[MATCHED[0]].features, (
        "the outputs of the preset's matching head are a feature"
    )
