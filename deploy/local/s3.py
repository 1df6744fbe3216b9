"""Runs an S3 server over a folder (s3proxy), from jars that Maven fetches once. Needs Java 17 and Maven.

python -m deploy.local.s3 FOLDER [--port 9000]      until Ctrl-C; a folder in FOLDER is a bucket
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.cluster import free_port, is_listening
from deploy.local.maven import MissingJarsError, copied_jars
from deploy.local.process import end

VERSION = "2.6.0"
POM = Path(__file__).with_name("s3.pom.xml")
START_SECONDS = 90.0
STOP_SECONDS = 10.0
KEY, SECRET = "sightline", "local-secret"
PROPERTIES = """\
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={key}
s3proxy.credential={secret}
jclouds.provider=filesystem-nio2
jclouds.identity={key}
jclouds.credential={secret}
jclouds.filesystem.basedir={buckets}
"""


def jars() -> Path:
    """The folder of its jars, fetched on first use (43 MB). Raises MissingJarsError."""
    return copied_jars(POM, "s3proxy", VERSION)


@dataclass
class S3Server:
    """Buckets are the folders in `folder/buckets`."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables with which clients find it, as the vendor's own tools do."""
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def bucket(self, name: str) -> Path:
        """The folder of a bucket, created if missing."""
        bucket = self.folder / "buckets" / name
        bucket.mkdir(parents=True, exist_ok=True)
        return bucket

    def start(self) -> None:
        """Return when it listens. Raises MissingJarsError with the end of its output if it does not."""
        libraries = jars()
        self.port = self.port or free_port()
        buckets = self.folder / "buckets"
        buckets.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "s3proxy.properties"
        properties.write_text(PROPERTIES.format(port=self.port, key=KEY, secret=SECRET, buckets=buckets.absolute()))
        quiet = ["-DLOG_LEVEL=warn", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
        program = ["java", *quiet, "-cp", f"{libraries}/*", "org.gaul.s3proxy.Main", "--properties", str(properties)]
        with (self.folder / "s3proxy.txt").open("ab") as output:
            self.process = subprocess.Popen(
                program, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not is_listening(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                printed = (self.folder / "s3proxy.txt").read_text(errors="replace")[-3000:]
                raise MissingJarsError(f"the S3 server on port {self.port} did not start:\n{printed}")
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if self.process is not None:
            end(self.process, seconds=STOP_SECONDS)
            self.process = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=9000)
    arguments = parser.parse_args()
    server = S3Server(arguments.folder, arguments.port)
    try:
        server.start()
    except MissingJarsError as error:
        parser.exit(1, f"{error}\n")
    for name, text in server.environment.items():
        print(f"export {name}={text}")
    with contextlib.suppress(KeyboardInterrupt):
        assert server.process is not None  # noqa: S101 - started above
        server.process.wait()
    server.stop()


if __name__ == "__main__":
    main()
