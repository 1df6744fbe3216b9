"""The names we take in site-packages are ours alone."""

import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ["processors", "schemas", "search", "sightline", "stores", "streams", "tinyworld"]


@pytest.mark.parametrize("name", NAMES)
def test_only_this_distribution_provides(name: str) -> None:
    assert set(packages_distributions().get(name, ["sightline"])) == {"sightline"}


def test_the_licence_is_said() -> None:
    assert distribution("sightline").metadata["License-Expression"] == "AGPL-3.0-or-later"


def test_every_package_is_listed_by_name() -> None:
    """An editable install finds a package that is not listed; a wheel lacks it."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [
        ".".join(one.parent.relative_to(ROOT).parts) for name in NAMES for one in (ROOT / name).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(found)


def test_the_shipped_models_and_clips_are_in_the_wheel() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["tinyworld"]
    included = {path for pattern in patterns for path in (ROOT / "tinyworld").glob(pattern) if path.is_file()}
    shipped = {path for name in ("checkpoints", "samples") for path in (ROOT / "tinyworld" / name).rglob("*.*")}
    assert shipped <= included
