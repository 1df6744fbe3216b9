"""A real broker for the tests of this folder: started once, in the newest version and in 3.9."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.cluster import OLDER_VERSION, VERSION, Cluster, LocalKafkaError, jars


@pytest.fixture(scope="session", params=[VERSION, OLDER_VERSION])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        jars(request.param)
    except LocalKafkaError as error:
        pytest.skip(f"no broker to test with: {error}")
    cluster = Cluster(tmp_path_factory.mktemp("kafka"), version=request.param)
    cluster.start()
    yield cluster
    cluster.stop()
