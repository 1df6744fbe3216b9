"""A real Apache Kafka on this machine, without Docker: KRaft mode, from jars that Maven fetches once.

    python -m deploy.local.kafka start [--version 4.3.0] [--nodes 1] [--port 9092] [--folder .kafka]
    python -m deploy.local.kafka stop [--folder .kafka]

Needs Java 17 and Maven. `Cluster` is the same for programs: tests start and kill brokers with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

VERSION = "4.3.0"
"""The newest that resolves; 3.9.1 is the other one that is tested."""

OLDER_VERSION = "3.9.1"
POM = Path(__file__).with_name("kafka.pom.xml")
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
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
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
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sightline" / f"kafka-{version}"
    if (cache / "complete").exists():
        return cache
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise LocalKafkaError(f"{tool} is missing: install a Java 17 runtime and Maven")
    command = ["mvn", "-q", "-B", "-f", str(POM), f"-Dkafka.version={version}"]
    fetched = subprocess.run(
        [*command, "dependency:copy-dependencies", f"-DoutputDirectory={cache}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        raise LocalKafkaError(f"Maven could not fetch Kafka {version}:\n{fetched.stdout[-2000:]}")
    (cache / "complete").touch()
    return cache


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Node:
    """One broker (and controller). It can be killed and started again: its folder stays."""

    folder: Path
    jars: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def properties(self) -> Path:
        return self.folder / "server.properties"

    def prepare(self, text: str, cluster: str) -> None:
        """Write the properties and format the storage, if that was not done before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.properties.write_text(text)
        done = subprocess.run(
            [*self._java("-Xmx128m"), *FORMAT, "-t", cluster, "-c", str(self.properties)],
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
        while not is_listening(self.port):
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
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
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
    nodes: list[Node] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

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
            node = Node(self.folder / f"node-{at + 1}", libraries, port)
            text = PROPERTIES.format(
                node=at + 1,
                voters=voters,
                port=port,
                controller_port=controller,
                logs=node.folder / "logs",
                replicas=min(3, self.size),
                insync=2 if self.size >= 3 else 1,
            )
            node.prepare(text, cluster)
            self.nodes.append(node)

    def _cluster_id(self) -> str:
        """A UUID as Kafka writes it, in URL-safe base 64; kept, so that a folder can be started again."""
        kept = self.folder / "cluster-id"
        if not kept.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            kept.write_text(urlsafe_b64encode(uuid4().bytes).decode().rstrip("="))
        return kept.read_text()


def stop_folder(folder: Path) -> int:
    """Stop the brokers that `start` left running in a folder; how many there were."""
    stopped = 0
    for pid_file in sorted(folder.glob("node-*/pid")):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
            stopped += 1
        pid_file.unlink()
    return stopped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--version", default=VERSION)
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1)
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--folder", type=Path, default=Path(".kafka"))
    arguments = parser.parse_args()
    if arguments.action == "stop":
        print(f"stopped {stop_folder(arguments.folder)} brokers; their records stay in {arguments.folder}")
        return
    if is_listening(arguments.port):
        parser.exit(1, f"port {arguments.port} is taken: stop what listens there, or choose another --port\n")
    cluster = Cluster(arguments.folder, arguments.version, arguments.nodes, arguments.port)
    try:
        cluster.start()
    except LocalKafkaError as error:
        parser.exit(1, f"{error}\n")
    print(f"Kafka {arguments.version} listens: kafka://{cluster.bootstrap}")


if __name__ == "__main__":
    main()
