"""Runs brokers of Apache Kafka on this machine: KRaft mode, no Docker, from jars that Maven fetches once.

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
"""The newest that Maven resolves; 3.9.1 is tested too."""

OLDER_VERSION = "3.9.1"
POM = Path(__file__).with_name("kafka.pom.xml")
LOOPBACK = "127.0.0.1"
HEAP = "-Xmx512m"
"""Enough for tests and a demo; a broker under real load needs more."""

START_SECONDS = 90.0
"""Longest wait until a broker listens: 8 s on an idle machine."""

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
min.insync.replicas={min_in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={min_in_sync}
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={min_in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=500
log.cleaner.min.compaction.lag.ms=0
num.network.threads=2
num.io.threads=2
"""

RIGHTS = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


class LocalKafkaError(Exception):
    """A broker could not be fetched or started; the message says what to do."""


def jars(version: str) -> Path:
    """The folder of a version's jars, fetched on first use (43 MB). Raises LocalKafkaError."""
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
    """One broker, which is also a controller. It can be killed and started again: its folder stays."""

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
        """Write the properties, and format the storage unless it is formatted."""
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
            raise LocalKafkaError(
                f"the broker's storage in {self.folder} could not be formatted:\n{done.stdout}{done.stderr}"
            )

    def start(self) -> None:
        """Start the process; `wait` returns when it listens."""
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
        """Return when the broker listens. Raises LocalKafkaError with the end of its output if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while not is_listening(self.port, self.host):
            ended = self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                output = (self.folder / "output.txt").read_text(errors="replace")[-3000:]
                raise LocalKafkaError(f"the broker on port {self.port} did not start:\n{output}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL, as a crash: its folder stays."""
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
    """One broker or three; of three, two must have a record before it is acknowledged."""

    folder: Path
    version: str = VERSION
    size: int = 1
    first_port: int | None = None
    login: Login | None = None
    """The user of the second listener, which has TLS and SCRAM; None: there is no second listener."""
    host: str = LOOPBACK
    """Address of this machine at which clients reach the brokers."""
    has_rights: bool = False
    """Whether users have only the rights that they are granted; the first listener's clients have all."""
    nodes: list[Node] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{self.host}:{node.port}" for node in self.nodes)

    @property
    def secure_bootstrap(self) -> str:
        return ",".join(f"{self.host}:{node.secure_port}" for node in self.nodes)

    @property
    def certificate(self) -> Path:
        """The certificate that a client of the second listener trusts."""
        return make_keys(self.folder / "keys")[1]

    def start(self) -> None:
        """Start all nodes, created on the first call, and wait until they listen."""
        if not self.nodes:
            self._create_nodes()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def _create_nodes(self) -> None:
        libraries, cluster = jars(self.version), self._cluster_id()
        first = self.first_port
        ports = [free_port() if first is None else first + index for index in range(self.size)]
        controllers = [free_port() for _ in range(self.size)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        for number, (port, controller) in enumerate(zip(ports, controllers, strict=True), 1):
            node = Node(self.folder / f"node-{number}", libraries, port, free_port() if self.login else 0, self.host)
            text = PROPERTIES.format(
                node=number,
                voters=voters,
                listeners=node.listeners,
                controller_port=controller,
                logs=node.folder / "logs",
                replicas=min(3, self.size),
                min_in_sync=2 if self.size >= 3 else 1,
            )
            if self.login:
                text += secure_properties(make_keys(self.folder / "keys")[0])
            if self.has_rights:
                text += RIGHTS
            node.prepare(text, cluster, self.login)
            self.nodes.append(node)

    def _cluster_id(self) -> str:
        """A UUID as Kafka writes it: URL-safe base 64, without a leading dash, which would be read as an option.

        It is stored, so that the brokers of a folder can be started again.
        """
        stored = self.folder / "cluster-id"
        if not stored.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            stored.write_text("A" + urlsafe_b64encode(uuid4().bytes).decode()[1:].rstrip("="))
        return stored.read_text()
