"""A stage of your own, as the README shows it: one file, named in the configuration."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

from sightline.config import load
from sightline.wiring.stage_loader import checked_stages
from tests.whole.rig import SAMPLES, deployment, enriched, feed, findings, work

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "brightness.py"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def quoted(language: str, holds: str) -> str:
    """The README's only block in `language` that contains `holds`."""
    (block,) = [text for name, text in FENCE.findall(README) if name == language and holds in text]
    return str(block)


def test_the_readme_quotes_the_file_as_it_is() -> None:
    assert quoted("python", "class Brightness") == EXAMPLE.read_text(encoding="utf-8")


async def test_its_result_stands_in_the_enriched_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the README's configuration names the file from there
    file = tmp_path / "sightline.toml"
    file.write_text(quoted("toml", "[stages.brightness]"), encoding="utf-8")
    checked_stages(load(file, environment={}))
    alone = load(file, {"data": str(tmp_path / "data"), "segments": [["decode", "brightness"]]}, {})
    async with deployment(alone) as parts:
        assert await feed(parts, str(SAMPLES / "still-00.jpg"), "stills", 1) == 1
        await work(parts)
        (event,) = (await enriched(parts)).values()
        assert (await findings(parts)).kept
    picture = cv2.imread(str(SAMPLES / "still-00.jpg"))
    assert picture is not None
    mean = float(picture.mean()) / 255
    assert event.results["brightness"] == {"mean": pytest.approx(mean, abs=0.02), "dark": mean < 0.2}
    assert [entry.stage for entry in event.trace] == ["decode", "brightness"]
