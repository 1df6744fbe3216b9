"""The index contract on a real Qdrant server, and faults that only a server has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.errors import StoreUnavailable, WrongLayout
from stores.index import CollectionSpec, Filter
from stores.namespaced import NamespacedIndex
from stores.server import ServerIndex
from tests.contract.index_suite import SPEC, IndexSuite, point
from tests.support.qdrant_server import Ports, free_port, qdrant_server

pytestmark = pytest.mark.qdrant


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with qdrant_server(tmp_path_factory.mktemp("qdrant")) as url:
        yield url


class TestServerIndex(IndexSuite):
    @pytest.fixture
    def where(self, server: str) -> str:
        return server


async def test_a_server_that_stops_and_starts_again(tmp_path: Path) -> None:
    ports = Ports(free_port(), free_port())
    index = ServerIndex(ports.url)
    with pytest.raises(StoreUnavailable, match=str(ports.http)):
        await index.ensure(SPEC, "frames")
    for _ in range(2):
        with qdrant_server(tmp_path, ports):
            await until_answered(index)
            await index.ensure(SPEC, "frames")
            await index.upsert("frames", [point(1)])
        with pytest.raises(StoreUnavailable):
            await index.upsert("frames", [point(2)])
    with qdrant_server(tmp_path, ports):
        await until_answered(index)
        assert await index.count("frames") == 1
    await index.close()


async def test_deployments_with_namespaces_share_a_server(server: str) -> None:
    first, second = (NamespacedIndex(ServerIndex(server), name) for name in ("harbor", "yard"))
    for index in (first, second):
        await index.ensure(SPEC, "frames")
    await first.upsert("frames", [point(1), point(2)])
    await second.upsert("frames", [point(1)])
    assert [await first.count("frames"), await second.count("frames-a")] == [2, 1]
    assert await first.collections() == {"frames-a": 2}
    await first.delete("frames", Filter())
    assert await second.count("frames") == 1
    for index in (first, second):
        await index.remove("frames-a")
        assert await index.collections() == {}
        await index.close()


async def test_another_program_s_alias_is_not_taken_over(tmp_path: Path) -> None:
    with qdrant_server(tmp_path) as url:
        index = ServerIndex(url)
        foreign = CollectionSpec(name="frames-of-a-shop", vectors={"text": 4}, payload={"price": "float"})
        await index.ensure(foreign, "frames")
        with pytest.raises(WrongLayout, match=r"alias 'frames' of collection 'frames-of-a-shop' is another program's"):
            await index.ensure(SPEC, "frames")
        assert await index.collections() == {"frames-of-a-shop": 0}
        await index.close()


async def until_answered(index: ServerIndex) -> None:
    """The channel reconnects at its own intervals."""
    while True:
        try:
            await index.collections()
        except StoreUnavailable:
            continue
        return


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
async def test_the_key_is_required_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server(tmp_path, api_key="very-secret") as url:
        for key in (None, "wrong-secret"):
            index = ServerIndex(url, key)
            with pytest.raises(StoreUnavailable) as refused:
                await index.ensure(SPEC, "frames")
            assert "secret" not in str(refused.value)
            await index.close()
        monkeypatch.setenv("QDRANT_API_KEY", "very-secret")
        index = ServerIndex(url)
        await index.ensure(SPEC, "frames")
        assert await index.collections() == {"frames-a": 0}
        await index.close()


@pytest.mark.parametrize("url", ["http://", "http://me:secret@host:6333", "http://host:6333?grpc_port=x"])
def test_a_malformed_url_is_refused_with_an_example_and_without_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match="http://HOST:6333") as refused:
        ServerIndex(url)
    assert "secret" not in str(refused.value)
