"""The AsyncAPI document against a real broker: topics made from it are accepted, and what is sent is what it says."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.cluster import VERSION, Cluster
from schemas import codec, generate
from schemas.identity import partition_key
from streams.kafka.transport import KafkaTransport
from tests.kafka.conftest import delete_topics
from tests.support.events import raw_event
from tests.support.json_schema import mistakes
from tests.support.picture_headers import picture_headers
from tests.support.pictures import encoded, scene

DOCUMENT: dict[str, Any] = json.loads((generate.FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
STAGE = "gate"
PLAN = f'segments=[["decode"], ["decode", "{STAGE}"]]'
Headers = Mapping[str, str]


def channels() -> dict[str, dict[str, Any]]:
    """By the topic's name."""
    return {channel["address"].replace("{stage}", STAGE): channel for channel in DOCUMENT["channels"].values()}


def resolved(reference: str) -> Any:
    node: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return resolved(node["$ref"]) if "$ref" in node else node


async def create_from_document(bootstrap: str) -> None:
    """As an operator does it who has the document and Kafka's tools."""
    transport = KafkaTransport.from_url(f"kafka://{bootstrap}")
    await transport.open()
    await delete_topics(transport)
    await transport.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    bindings = {name: channel["bindings"]["kafka"] for name, channel in channels().items()}
    response = await admin.create_topics(
        [
            NewTopic(name, binding["partitions"], 1, topic_configs=settings(binding["topicConfiguration"]))
            for name, binding in bindings.items()
        ]
    )
    await admin.close()
    assert all(code == 0 for _, code, *_ in response.topic_errors)


def settings(configuration: Mapping[str, Any]) -> dict[str, str]:
    return {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in configuration.items()}


async def produce_as_others_do(bootstrap: str) -> None:
    """A plain picture, and an event in JSON whose original is nowhere."""
    event = raw_event()
    own = {"content-type": b"application/json", "ce_type": b"sightline.frame.raw.v1", "ce_specversion": b"1.0"}
    own |= {"ce_source": b"/default/lobby", "ce_id": b"1"}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for key, value, headers in (
        (b"till", encoded(scene(8)), picture_headers("/shop/till", "1", content_type="image/jpeg")),
        (partition_key(event.tenant, event.feed), codec.encode_frame(event, as_json=True), own),
    ):
        await producer.send_and_wait("frames.raw", value, key, headers=list(headers.items()))
    await producer.stop()


async def everything(bootstrap: str) -> dict[str, list[ConsumerRecord]]:
    consumer = AIOKafkaConsumer(*channels(), bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[str, list[ConsumerRecord]] = {name: [] for name in channels()}
    ends = await consumer.end_offsets(consumer.assignment())
    for partition, end in ends.items():
        while end and await consumer.position(partition) < end:
            for records in (await consumer.getmany(partition, timeout_ms=1000)).values():
                found[partition.topic] += [record for record in records if record.value is not None]
    await consumer.stop()
    return found


def message_of(record: ConsumerRecord, headers: Headers) -> str:
    """The message of the channel whose content type and headers these are."""
    for name in channels()[record.topic]["messages"]:
        message = resolved(f"#/components/messages/{name}")
        kind = message["contentType"].removesuffix("*")
        if headers["content-type"].startswith(kind) and not any(mistakes(headers, message["headers"], DOCUMENT)):
            return str(name)
    raise AssertionError(f"{record.topic}: {headers} are the headers of no message of the channel")


def decoded(value: bytes, content_type: str) -> Any:
    """As a consumer does it who knows the content type alone; dates and binary content as JSON has them."""
    if content_type == "application/json":
        return json.loads(value)
    plain = msgspec.msgpack.decode(value)
    return json.loads(json.dumps(plain, default=as_json))


def as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else base64.b64encode(value).decode()  # type: ignore[arg-type]


def check_record(record: ConsumerRecord) -> str:
    """The name of its message. Fails where the document says something else."""
    headers = {name: value.decode() for name, value in record.headers}
    name = message_of(record, headers)
    if name != "picture":
        file = resolved(f"#/components/messages/{name}")["payload"]["schema"]["$ref"]
        schema = json.loads((generate.FOLDER / file).read_text(encoding="utf-8"))
        found = list(mistakes(decoded(record.value, headers["content-type"]), schema, schema))
        assert not found, f"{record.topic}, {name}: {found}"
    return name


def make_old(folder: Path) -> None:
    """Retention leaves pictures alone that were put just now."""
    old = time.time() - 7200
    for path in folder.rglob("*"):
        os.utime(path, (old, old))


class Commands:
    """The commands as a user types them."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.folder = folder
        keys = (f"transport=kafka://{bootstrap}", PLAN, "serve.metrics_port=0", "worker.watch_seconds=0.2")
        self.settings = [part for key in (*keys, "worker.absent_seconds=0.5") for part in ("--set", key)]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("sightline")), *arguments, "--data", "data", *self.settings]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *arguments: str) -> str:
        return self.end(self.start(*arguments))

    def end(self, process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def work(self) -> None:
        for process in [self.start("work", "--until-idle", "--segment", number) for number in ("1", "2")]:
            self.end(process)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cluster", [VERSION], indirect=True, scope="session")
def test_the_document_says_what_is_sent_and_what_is_wanted(cluster: Cluster, tmp_path: Path) -> None:
    asyncio.run(create_from_document(cluster.bootstrap))
    (tmp_path / "shots").mkdir()
    for number in range(6):
        content = encoded(scene(number))
        (tmp_path / "shots" / f"{number}.jpg").write_bytes(content[: len(content) // 3] if number == 3 else content)
    commands = Commands(tmp_path, cluster.bootstrap)
    assert "all topics are as declared" in commands.run("topics", "check")
    commands.run("ingest", "shots")
    commands.run("feeds", "add", "door", "rtsp://camera/1")
    asyncio.run(produce_as_others_do(cluster.bootstrap))
    commands.work()
    letters = asyncio.run(everything(cluster.bootstrap))["frames.dead"]
    commands.run("forget", dict(letters[0].headers)["ce_subject"].decode())
    commands.work()
    enriched = asyncio.run(everything(cluster.bootstrap))["frames.enriched"]
    commands.run("keep", dict(enriched[0].headers)["ce_subject"].decode())
    make_old(tmp_path / "data" / "blobs")
    commands.run("work", "--until-idle", "--segment", "2", "--set", "storage.picture_bytes=1")
    records = asyncio.run(everything(cluster.bootstrap))
    seen = {name: {check_record(record) for record in found} for name, found in records.items()}
    assert seen == {name: set(channel["messages"]) for name, channel in channels().items()}
