"""A listener with TLS and SCRAM for the local broker."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

STORE_PASSWORD = "local-only"  # noqa: S105 - its key never leaves the test's folder

PROPERTIES = """\
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password={password}
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


@dataclass(frozen=True)
class Login:
    username: str
    password: str

    def format_arguments(self) -> list[str]:
        """Arguments of the storage tool: only it can create the first user without a running broker."""
        return ["--add-scram", f"SCRAM-SHA-512=[name={self.username},password={self.password}]"]


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Create a self-signed key for 127.0.0.1; returns the keystore, and the certificate for clients to trust."""
    folder.mkdir(parents=True, exist_ok=True)
    keystore, certificate = folder / "broker.p12", folder / "ca.pem"
    if not certificate.exists():
        store = ["-alias", "broker", "-keystore", str(keystore), "-storepass", STORE_PASSWORD]
        key = ["-storetype", "PKCS12", "-keyalg", "EC", "-validity", "3650", "-dname", "CN=local"]
        _keytool("-genkeypair", *store, *key, "-ext", "SAN=ip:127.0.0.1,dns:localhost")
        _keytool("-exportcert", *store, "-rfc", "-file", str(certificate))
    return keystore, certificate


def properties(keystore: Path) -> str:
    return PROPERTIES.format(keystore=keystore, password=STORE_PASSWORD)


def _keytool(*arguments: str) -> None:
    subprocess.run(["keytool", *arguments], check=True, capture_output=True)
