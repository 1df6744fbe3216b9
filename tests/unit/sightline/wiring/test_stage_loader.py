"""A shipped stage is found by its name, a stage of your own by its file."""

from pathlib import Path

import pytest

from processors.models.input_size import FULL_SIZE
from sightline.config import Config
from sightline.wiring.stage_loader import checked_stages, skip_states, stage_class, stage_settings

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


OWN = '''
from msgspec import Struct

class Mine:
    """A stage that skips others, names them in a setting, and needs pixels at full size."""

    class Settings(Struct, frozen=True, forbid_unknown_fields=True):
        stages: tuple[str, ...] = ("detect", "caption", "other")

    name, lane = "mine", "cpu"
    requires, provides = frozenset({"pixels"}), frozenset()
    skip_states = {"mine:": "set aside"}
    full_size = True

    def __init__(self, settings): ...
    def open(self, device): ...
    def process(self, frames): return [None] * len(frames)
    def close(self): ...
'''


@pytest.fixture
def own_stage(tmp_path: Path) -> dict[str, str]:
    """The table of a stage that lies in a file of its own."""
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    return {"file": str(tmp_path / "mine.py")}


def test_the_states_of_skipped_frames_are_those_that_stages_declare(own_stage: dict[str, str]) -> None:
    assert skip_states(Config(segments=(("decode", "mine"),), stages={"mine": own_stage})) == {"mine:": "set aside"}
    assert skip_states(Config()) == {"gate:": "gated"}
    assert skip_states(Config(segments=(("decode", "elsewhere"),))) == {}, "a server needs no stage's file"


def test_a_setting_that_names_stages_keeps_those_of_the_plan(own_stage: dict[str, str]) -> None:
    plan = (("decode", "mine", "caption"),)
    assert checked_stages(Config(segments=plan, stages={"mine": own_stage})).settings["mine"].stages == ("caption",)
    given = {**own_stage, "stages": ["caption", "mine"]}
    settings = checked_stages(Config(segments=plan, stages={"mine": given})).settings["mine"]
    assert settings.stages == ("caption", "mine"), "the configuration overrides the plan"


def test_decode_shrinks_to_what_models_see_unless_a_stage_needs_full_size(own_stage: dict[str, str]) -> None:
    def max_side(*stages: str) -> int:
        tables = {"mine": own_stage} if "mine" in stages else {}
        side: int = checked_stages(Config(segments=(("decode", *stages),), stages=tables)).settings["decode"].max_side
        return side

    assert max_side("gate") == FULL_SIZE
    assert max_side("gate", "embed") > 0
    assert max_side("detect", "embed") >= max_side("embed")
    assert max_side("mine", "embed") == FULL_SIZE
