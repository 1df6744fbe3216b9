"""A real broker for the tests of this folder: started once, in the newest version and in 3.9."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.cluster import OLDER_VERSION, VERSION, Cluster, LocalKafkaError, jars
from streams.transport import Transport

DELETE_SECONDS = 30.0
AWAY_SECONDS = 2.0
FAILED_REQUEST = "Unable to update metadata"
"""aiokafka's message for each metadata request while a broker is away."""
MAX_REQUESTS_PER_SECOND = 100
"""More than a consumer and a producer send, ten a second each. Without the limit it is some five thousand."""


@contextmanager
def own_broker(folder: Path, version: str) -> Iterator[Cluster]:
    """A broker of this version; skips the test where there is none."""
    try:
        jars(version)
    except LocalKafkaError as error:
        pytest.skip(f"there is no broker to test with: {error}")
    cluster = Cluster(folder, version=version)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session", params=[VERSION, OLDER_VERSION])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with own_broker(tmp_path_factory.mktemp("kafka"), request.param) as cluster:
        yield cluster


def reader_query(cluster: Cluster) -> str:
    """Part of a URL's query: compiled code on the newest broker, Python on the older one."""
    return f"compiled={str(cluster.version == VERSION).lower()}"


async def delete_topics(transport: Transport) -> None:
    """Delete every topic, and with it the groups' offsets, so that one broker serves many deployments."""
    admin = AIOKafkaAdminClient(bootstrap_servers=transport.settings.bootstrap)  # type: ignore[attr-defined]
    await admin.start()
    try:
        if names := list(await transport.topics()):
            await admin.delete_topics(names)
        async with asyncio.timeout(DELETE_SECONDS):
            while await transport.topics():
                pass
    finally:
        await admin.close()
