"""The names we take in site-packages are ours alone."""

from importlib.metadata import distribution, packages_distributions

import pytest


@pytest.mark.parametrize("name", ["processors", "schemas", "search", "sightline", "stores", "streams", "tinyworld"])
def test_only_this_distribution_provides(name: str) -> None:
    assert set(packages_distributions().get(name, ["sightline"])) == {"sightline"}


def test_the_licence_is_said() -> None:
    assert distribution("sightline").metadata["License-Expression"] == "AGPL-3.0-or-later"
