"""Start and stop local Kafka brokers.

python -m deploy.local.kafka start [--version 4.3.0] [--nodes 1] [--port 9092] [--folder .kafka]
python -m deploy.local.kafka stop [--folder .kafka]
"""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import suppress
from pathlib import Path

from deploy.local.cluster import VERSION, Cluster, LocalKafkaError, is_listening


def stop_folder(folder: Path) -> int:
    """Stop the brokers that `start` left running in a folder; returns how many."""
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
        print(f"{stop_folder(arguments.folder)} brokers stopped; their records stay in {arguments.folder}")
        return
    if is_listening(arguments.port):
        parser.exit(
            1, f"Port {arguments.port} is in use: stop the program that listens there, or choose another --port\n"
        )
    cluster = Cluster(arguments.folder, arguments.version, arguments.nodes, arguments.port)
    try:
        cluster.start()
    except LocalKafkaError as error:
        parser.exit(1, f"{error}\n")
    print(f"Kafka {arguments.version} listens on kafka://{cluster.bootstrap}")


if __name__ == "__main__":
    main()
