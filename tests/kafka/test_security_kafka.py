"""SCRAM over TLS against a broker that requires it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from deploy.local.cluster import Cluster
from deploy.local.secure import Login
from streams.errors import Unavailable
from streams.kafka.transport import KafkaTransport
from streams.transport import TopicSpec
from tests.contract.transport_suite import RecordingListener, number, values

LOGIN = Login("anna", "a b/c")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("secured"), login=LOGIN)
    cluster.start()
    yield cluster
    cluster.stop()


def url(cluster: Cluster, password: str, **keys: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in keys.items())
    return f"kafka://{LOGIN.username}:{quote(password, safe='')}@{cluster.secure_bootstrap}?{query}"


async def test_a_login_by_scram_over_tls_publishes_and_consumes(secured: Cluster) -> None:
    transport = KafkaTransport.from_url(url(secured, LOGIN.password, ca_file=str(secured.certificate)))
    await transport.open()
    await transport.create([TopicSpec("secured", 1)])
    await transport.publish(values("secured", "a", [1, 2]))
    consumer = await transport.consumer("group", ["secured"], RecordingListener())
    assert [number(record) for record in await consumer.poll(2, 30.0)] == [1, 2]
    await transport.close()


async def test_a_wrong_password_is_refused_and_not_in_the_message(secured: Cluster) -> None:
    wrong = url(secured, "guess", ca_file=str(secured.certificate), request_seconds="1")
    with pytest.raises(Unavailable) as refused:
        await KafkaTransport.from_url(wrong).open()
    assert "guess" not in str(refused.value)


async def test_a_broker_whose_certificate_is_not_trusted_gets_no_login(secured: Cluster) -> None:
    with pytest.raises(Unavailable):
        await KafkaTransport.from_url(url(secured, LOGIN.password, request_seconds="1")).open()
