"""A score is a probability: fitted on truth, kept in two files, and independent of the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from search.calibrate import BadCalibration, Calibration, auroc, best_threshold, fit, load, save, unit

DIMENSION = 32


def world(seed: int, things: int = 12) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Query vectors [q, d], picture vectors [n, d] of two things each, and which query is true of which picture.

    All lie in one narrow cone, as real models' vectors do.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((DIMENSION, things)))[0].T.astype(np.float32)
    cone = 2 * unit(rng.standard_normal(DIMENSION).astype(np.float32))
    shown = np.array([rng.choice(things, 2, replace=False) for _ in range(200)])
    noise = 0.3 * unit(rng.standard_normal((200, DIMENSION)).astype(np.float32))
    pictures = unit(directions[shown].sum(axis=1) + cone + noise)
    matches = np.array([[thing in pair for pair in shown] for thing in range(things)])
    return unit(directions + cone), pictures, matches


def test_probabilities_are_frequencies() -> None:
    queries, pictures, matches = world(1)
    curve = fit(queries, pictures[:100], matches[:, :100], pictures[150:])
    means = (queries @ pictures[150:].T).mean(axis=1)
    chances = np.concatenate(
        [curve.probability(q @ pictures[100:150].T, m) for q, m in zip(queries, means, strict=True)]
    )
    truth = matches[:, 100:150].reshape(-1)
    assert curve.auroc > 0.95
    assert truth[chances > 0.9].mean() > 0.9
    assert truth[chances < 0.1].mean() < 0.1


def test_a_camera_that_always_shows_one_object_matches_it() -> None:
    queries, pictures, matches = world(2)
    curve = fit(queries, pictures[:100], matches[:, :100], pictures[100:])
    always = pictures[:100][matches[0, :100]]
    chances = curve.probability(always @ queries[0], float((pictures[100:] @ queries[0]).mean()))
    assert (chances > curve.threshold).mean() > 0.9


def test_the_matching_heads_log_odds_are_used_where_they_are_known() -> None:
    queries, pictures, matches = world(3)
    blurred = unit(pictures + 0.8 * unit(np.random.default_rng(3).standard_normal(pictures.shape).astype(np.float32)))
    odds = np.where(matches, 2.0, -2.0).astype(np.float32)
    odds[:, ::3] = np.nan
    plain = fit(queries, blurred[:100], matches[:, :100], blurred[100:])
    matched = fit(queries, blurred[:100], matches[:, :100], blurred[100:], odds[:, :100])
    assert matched.features == ("cosine", "margin", "matching")
    assert matched.auroc > plain.auroc
    with pytest.raises(ValueError, match="log-odds"):
        matched.probability(np.zeros(3, np.float32), 0.0)


def test_files_hold_what_was_fitted(tmp_path: Path) -> None:
    queries, pictures, matches = world(4)
    curve = fit(queries, pictures[:100], matches[:, :100], pictures[100:])
    save(Calibration(revision="abc", curves={"text": curve}, references={"semantic": pictures[100:]}), tmp_path)
    loaded = load(tmp_path)
    assert loaded is not None
    assert loaded.revision == "abc"
    assert loaded.curves == {"text": curve}
    assert loaded.mean("semantic", queries[0]) == pytest.approx(float((pictures[100:] @ queries[0]).mean()), abs=1e-3)


def test_missing_files_are_no_calibration_and_damaged_files_an_error(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    (tmp_path / "calibration.json").write_text('{"version": 1, "revision": "abc", "curves": {}}')
    with pytest.raises(BadCalibration):
        load(tmp_path)


def test_a_fit_without_truth_is_refused() -> None:
    queries, pictures, matches = world(5)
    with pytest.raises(ValueError, match="match"):
        fit(queries, pictures[:100], np.zeros_like(matches[:, :100]), pictures[100:])


def test_the_threshold_separates_matches_from_others() -> None:
    assert 2 < best_threshold(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0])) < 3
    assert auroc(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == pytest.approx(0.875)
