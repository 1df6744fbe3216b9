"""SCRAM over TLS against a broker that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from deploy.local.cluster import Cluster
from deploy.local.secure import Login
from streams.errors import Unavailable
from streams.kafka.transport import KafkaTransport
from streams.transport import TopicSpec
from tests.contract.transport_suite import Ear, number, values

LOGIN = Login("anna", "a b/c")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("guarded"), login=LOGIN)
    cluster.start()
    yield cluster
    cluster.stop()


def url(cluster: Cluster, password: str, **keys: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in keys.items())
    return f"kafka://{LOGIN.username}:{quote(password, safe='')}@{cluster.secure_bootstrap}?{query}"


async def test_a_login_by_scram_over_tls_publishes_and_consumes(guarded: Cluster) -> None:
    transport = KafkaTransport.from_url(url(guarded, LOGIN.password, ca_file=str(guarded.certificate)))
    await transport.open()
    await transport.create([TopicSpec("guarded", 1)])
    await transport.publish(values("guarded", "a", [1, 2]))
    consumer = await transport.consumer("group", ["guarded"], Ear())
    assert [number(record) for record in await consumer.poll(2, 30.0)] == [1, 2]
    await transport.close()


async def test_a_wrong_password_is_refused_without_being_told(guarded: Cluster) -> None:
    wrong = url(guarded, "guess", ca_file=str(guarded.certificate), request_seconds="1")
    with pytest.raises(Unavailable) as refused:
        await KafkaTransport.from_url(wrong).open()
    assert "guess" not in str(refused.value)


async def test_a_broker_whose_certificate_is_not_trusted_gets_no_login(guarded: Cluster) -> None:
    with pytest.raises(Unavailable):
        await KafkaTransport.from_url(url(guarded, LOGIN.password, request_seconds="1")).open()
