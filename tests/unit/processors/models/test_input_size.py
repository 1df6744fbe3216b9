"""How much of a picture a plan looks at."""

from __future__ import annotations

from pathlib import Path

from processors.models.input_size import FULL_SIZE, longest_side, plan_side


def test_folders_say_how_large_their_pictures_are(weights: dict[str, Path], tmp_path: Path) -> None:
    assert [longest_side(weights[role]) for role in ("semantic", "visual", "caption")] == [48, 48, 48]
    assert longest_side(weights["semantic"], "crop") == FULL_SIZE
    (tmp_path / "yolov9c.pt").touch()
    assert longest_side(tmp_path) == longest_side(tmp_path / "yolov9c.pt") == 640
    (tmp_path / "yolov9c.pt").rename(tmp_path / "own.pt")
    assert longest_side(tmp_path) == FULL_SIZE
    (tmp_path / "sightline.json").write_text('{"revision": "1", "image_size": 256, "expected": [1]}')
    assert longest_side(tmp_path) == 256


def test_a_plan_decodes_enough_for_each_and_all_where_one_cannot_say() -> None:
    assert plan_side([224, 640, 384]) == 640
    assert plan_side([224, FULL_SIZE]) == FULL_SIZE
    assert plan_side([]) == FULL_SIZE
