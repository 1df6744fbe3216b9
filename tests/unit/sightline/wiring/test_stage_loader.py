"""A shipped stage is found by its name, a stage of your own by its file."""

from pathlib import Path

import pytest

from sightline.wiring.stage_loader import stage_class, stage_settings

EXAMPLE = Path(__file__).parents[4] / "examples" / "brightness.py"


def test_the_example_of_the_readme_is_found_and_built() -> None:
    stage, errors = stage_class("brightness", {"file": str(EXAMPLE)}), list[str]()
    settings = stage_settings("brightness", stage, {"file": str(EXAMPLE), "dark_below": 0.5}, errors)
    assert errors == []
    assert stage(settings).settings.dark_below == 0.5


def test_a_wrong_setting_of_a_stage_is_reported_with_its_key() -> None:
    stage, errors = stage_class("brightness", {"file": str(EXAMPLE)}), list[str]()
    assert stage_settings("brightness", stage, {"dark_bellow": 0.5, "dark_below": "low"}, errors) is None
    assert len(errors) == 2
    assert "stages.brightness.dark_bellow: unknown key; did you mean dark_below?" in errors[0]


def test_the_error_of_an_unknown_stage_names_the_shipped_ones() -> None:
    with pytest.raises(ValueError, match=r"no stage 'detekt'.*decode"):
        stage_class("detekt", {})


def test_a_file_without_the_stage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no stage class with name = 'mine'"):
        stage_class("mine", {"file": str(tmp_path / "other.py")})
