"""A real broker for the tests of this folder: started once, in the newest version and in 3.9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.cluster import OLDER_VERSION, VERSION, Cluster, LocalKafkaError, jars
from stores.edge.client import EdgeIndex
from stores.edge.settings import EdgeSettings
from stores.folder import BlobFolder
from streams.kafka.transport import KafkaTransport
from streams.transport import Transport
from tests.support.deployment import Deployment, declared
from tests.support.edge_folder import edge_folder

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


@asynccontextmanager
async def deployment(
    folder: Path, url: str, *, created: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Deployment]:
    """A deployment on an emptied broker. `created` may create topics before the missing ones are."""
    transport = KafkaTransport.from_url(url)
    await transport.open()
    await delete_topics(transport)
    if created is not None:
        await created()
    await transport.create(declared())
    with edge_folder(folder / "index") as index_folder:
        index, blobs = EdgeIndex(index_folder, EdgeSettings(idle_seconds=5.0)), BlobFolder(folder / "blobs")
        yield Deployment(folder, index_folder, transport, index, blobs)  # type: ignore[arg-type]
        await blobs.close()
        await index.close()
        await transport.close()


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
