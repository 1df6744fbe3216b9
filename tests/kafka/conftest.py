"""A real broker for the tests of this folder: started once, in the newest version and in 3.9."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.kafka import OLDER_VERSION, VERSION, Cluster


@pytest.fixture(scope="session", params=[VERSION, OLDER_VERSION])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("kafka"), version=request.param)
    cluster.start()
    yield cluster
    cluster.stop()
