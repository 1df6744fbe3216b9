"""A thumbnail that the present settings make differently gets a new event that cites it."""

from __future__ import annotations

from pathlib import Path

from tests.unit.sightline.commands.test_repair import DECODE_ONLY, processed
from tests.unit.sightline.conftest import Typed

OTHER = "--set=stages.decode.thumbnail_quality=40"


def test_a_lost_thumbnail_after_its_settings_changed(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    processed(typed, pictures)
    lost, *_ = sorted((tmp_path / "data" / "blobs").rglob("*.thumb"))
    lost.unlink()
    repaired = typed("repair", DECODE_ONLY, OTHER)
    assert repaired.exit_code == 0
    assert "Next: `sightline work --until-idle`" in repaired.stdout
    assert typed("work", "--until-idle", DECODE_ONLY, OTHER, "--set=serve.metrics_port=0").exit_code == 0
    assert typed("check", "--deep", DECODE_ONLY, OTHER).exit_code == 0
    assert "Nothing to repair" in typed("repair", "--deep", DECODE_ONLY, OTHER).stdout
