"""The shipped checkpoints are small and contain nothing about the machine that made them."""

import re
from pathlib import Path

import pytest

CHECKPOINTS = Path(__file__).parents[3] / "tinyworld" / "checkpoints"
MOST_BYTES = 16_000_000
MACHINE = re.compile(rb"/(?:home|root|tmp|work|usr|opt|Users|mnt|var)/|[A-Za-z]:\\\\|https?://|github\.com|\.git\b")


def shipped() -> list[Path]:
    return sorted(path for path in CHECKPOINTS.rglob("*") if path.is_file())


def test_the_checkpoints_are_small() -> None:
    assert sum(path.stat().st_size for path in shipped()) <= MOST_BYTES


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(CHECKPOINTS)))
def test_no_path_and_no_host(path: Path) -> None:
    assert not MACHINE.findall(path.read_bytes())
