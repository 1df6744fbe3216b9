"""How a Kafka cluster is reached, and the time limits of its members."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from streams.url_options import url_options


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a `kafka://` URL gives: the keys of its query, and brokers and login from its authority."""

    bootstrap: tuple[str, ...]
    username: str = ""
    password: str = ""
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    """Encryption and authentication; with a user name in the URL the default is `sasl_ssl`."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """SASL mechanism of the login."""
    ca_file: str = ""
    """File of certificates to trust; empty: the system's."""
    session_seconds: float = 10.0
    """A member without a heartbeat for this long is expelled from its group."""
    drain_seconds: float = 30.0
    """How long a member may drain before its partitions move; the group waits half as long again for it."""
    max_poll_seconds: float = 300.0
    """A member that neither polls nor keeps alive for this long leaves its group, because it hangs."""
    request_seconds: float = 30.0
    """How long a request may take, retries included, before the cluster counts as unavailable."""
    delivery: Literal["at_least_once", "transactional"] = "at_least_once"
    """`transactional`: outputs and the group's position in one transaction per partition and commit."""
    replicas: int = 0
    """Replicas of each partition of the topics that Sightline creates; 0: three, or as many as there are brokers."""
    compiled: bool = True
    """Read and write batches with the compiled code, where it was built; false: with Python and aiokafka."""

    @classmethod
    def from_url(cls, url: str) -> KafkaSettings:
        """`kafka://[user:password@]host:port[,host:port…][?key=value…]`. Raises ValueError naming what is wrong."""
        scheme, _, rest = url.partition("://")
        authority, _, query = rest.partition("?")
        login, _, hosts = authority.rstrip("/").rpartition("@")
        username, _, password = login.partition(":")
        bootstrap = tuple(host for host in hosts.split(",") if host)
        if scheme != "kafka" or not bootstrap or "/" in hosts:
            raise ValueError("use kafka://[user:password@]host:port[,host:port…][?key=value…]")
        keys: dict[str, Any] = {"security": "sasl_ssl"} if username else {}
        keys |= url_options(query, cls, without=("bootstrap", "username", "password"))
        keys |= {"bootstrap": bootstrap, "username": unquote(username), "password": unquote(password)}
        return msgspec.convert(keys, cls, strict=False)

    def check_files(self) -> None:
        """Raises ValueError for certificates that cannot be read."""
        try:
            self.client()
        except OSError as error:  # `SSLError` is one
            raise ValueError(f"ca_file {self.ca_file}: {error.strerror or error}") from None

    def client(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes."""
        keys: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap),
            "request_timeout_ms": round(1000 * self.request_seconds),
            "security_protocol": self.security.upper(),
        }
        if self.security.endswith("ssl"):
            keys["ssl_context"] = ssl.create_default_context(cafile=str(Path(self.ca_file)) if self.ca_file else None)
        if self.security.startswith("sasl"):
            keys |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return keys
