"""Brokers of a real Apache Kafka on this machine: KRaft mode, no Docker, from jars that Maven fetches once.

Needs Java 17 and Maven. Tests start, kill and restart brokers with `Cluster`.
"""

from __future__ import annotations

import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from deploy.local.maven import MissingJarsError, copied_jars
from deploy.local.process import end
from deploy.local.secure import Login, make_keys
from deploy.local.secure import properties as secure_properties

VERSION = "4.3.0"
"""The newest that resolves; 3.9.1 is the other one that is tested."""

OLDER_VERSION = "3.9.1"
POM = Path(__file__).with_name("kafka.pom.xml")
LOOPBACK = "127.0.0.1"
HEAP = "-Xmx512m"
"""Enough for tests and a demo; a broker with real load wants more."""

START_SECONDS = 90.0
"""Listening takes 8 s on an idle machine."""

STOP_SECONDS = 30.0

FORMAT = ("kafka.tools.StorageTool", "format", "--ignore-formatted")

PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={insync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={insync}
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={insync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=500
log.cleaner.min.compaction.lag.ms=0
num.network.threads=2
num.io.threads=2
"""


class LocalKafkaError(Exception):
    """The broker could not be fetched or started; the message says what to do."""


def jars(version: str) -> Path:
    """The folder of a version's jars, fetched at first use (43 MB). Raises LocalKafkaError."""
    try:
        return copied_jars(POM, "kafka", version)
    except MissingJarsError as error:
        raise LocalKafkaError(str(error)) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


@dataclass
class Node:
    """One broker (and controller). It can be killed and started again: its folder stays."""

    folder: Path
    jars: Path
    port: int
    secure_port: int
    host: str = LOOPBACK
    process: subprocess.Popen[bytes] | None = None

    @property
    def properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def listeners(self) -> str:
        plain = f"PLAINTEXT://{self.host}:{self.port}"
        return f"{plain},SASL_SSL://{self.host}:{self.secure_port}" if self.secure_port else plain

    def prepare(self, text: str, cluster: str, login: Login | None) -> None:
        """Write the properties and format the storage, if that was not done before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.properties.write_text(text)
        users = login.format_arguments() if login else []
        done = subprocess.run(
            [*self._java("-Xmx128m"), *FORMAT, "-t", cluster, "-c", str(self.properties), *users],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalKafkaError(f"the storage could not be formatted:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the process; `wait` tells when it listens."""
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [*self._java(HEAP), "kafka.Kafka", str(self.properties)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(self.process.pid))

    def wait(self) -> None:
        """Return when the broker listens. Raises LocalKafkaError with its last words if it does not."""
        ends = time.monotonic() + START_SECONDS
        while not is_listening(self.port, self.host):
            ended = self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > ends:
                words = (self.folder / "output.txt").read_text(errors="replace")[-3000:]
                raise LocalKafkaError(f"the broker on port {self.port} did not start:\n{words}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL: what a crash leaves is on its disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if self.process is not None:
            end(self.process, seconds=STOP_SECONDS)
            self.process = None

    def _java(self, heap: str) -> list[str]:
        quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return ["java", heap, *quiet, "-cp", f"{self.jars}/*"]


@dataclass
class Cluster:
    """One broker or three; three keep two copies in sync, as DESIGN's guarantee asks."""

    folder: Path
    version: str = VERSION
    size: int = 1
    first_port: int | None = None
    login: Login | None = None
    """Who may come in by the second listener, with TLS and SCRAM; none where there is no such user."""
    host: str = LOOPBACK
    """Where clients reach it; an address of this machine."""
    nodes: list[Node] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{self.host}:{node.port}" for node in self.nodes)

    @property
    def secure_bootstrap(self) -> str:
        return ",".join(f"{self.host}:{node.secure_port}" for node in self.nodes)

    @property
    def certificate(self) -> Path:
        """What a client of the second listener trusts."""
        return make_keys(self.folder / "keys")[1]

    def start(self) -> None:
        """Make the nodes at first, start them and wait until all listen."""
        if not self.nodes:
            self._make()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def _make(self) -> None:
        libraries, cluster = jars(self.version), self._cluster_id()
        first = self.first_port
        ports = [free_port() if first is None else first + at for at in range(self.size)]
        controllers = [free_port() for _ in range(self.size)]
        voters = ",".join(f"{at + 1}@127.0.0.1:{port}" for at, port in enumerate(controllers))
        for at, (port, controller) in enumerate(zip(ports, controllers, strict=True)):
            node = Node(self.folder / f"node-{at + 1}", libraries, port, free_port() if self.login else 0, self.host)
            text = PROPERTIES.format(
                node=at + 1,
                voters=voters,
                listeners=node.listeners,
                controller_port=controller,
                logs=node.folder / "logs",
                replicas=min(3, self.size),
                insync=2 if self.size >= 3 else 1,
            )
            if self.login:
                text += secure_properties(make_keys(self.folder / "keys")[0])
            node.prepare(text, cluster, self.login)
            self.nodes.append(node)

    def _cluster_id(self) -> str:
        """A UUID as Kafka writes it, in URL-safe base 64 and without a dash in front, which would be an option.

        It is kept, so that a folder can be started again.
        """
        kept = self.folder / "cluster-id"
        if not kept.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            kept.write_text("A" + urlsafe_b64encode(uuid4().bytes).decode()[1:].rstrip("="))
        return kept.read_text()
