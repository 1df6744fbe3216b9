"""How a `kafka://` URL is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.kafka.settings import KafkaSettings


def test_a_plain_cluster() -> None:
    settings = KafkaSettings.from_url("kafka://one:9092,two:9093?session_seconds=6&drain_seconds=12.5")
    assert settings == KafkaSettings(bootstrap=("one:9092", "two:9093"), session_seconds=6, drain_seconds=12.5)
    assert settings.client()["security_protocol"] == "PLAINTEXT"
    assert "sasl_mechanism" not in settings.client()


def test_a_login_means_scram_over_tls() -> None:
    settings = KafkaSettings.from_url("kafka://anna:p%40ss%2Fword@broker:9093")
    client = settings.client()
    assert client["security_protocol"] == "SASL_SSL"
    assert (client["sasl_plain_username"], client["sasl_plain_password"]) == ("anna", "p@ss/word")
    assert client["sasl_mechanism"] == "SCRAM-SHA-512"
    assert client["ssl_context"].check_hostname


def test_security_can_be_chosen() -> None:
    settings = KafkaSettings.from_url("kafka://a:b@broker:9092?security=sasl_plaintext&mechanism=SCRAM-SHA-256")
    assert settings.client()["security_protocol"] == "SASL_PLAINTEXT"
    assert "ssl_context" not in settings.client()


@pytest.mark.parametrize("url", ["kafka://", "kafka:broker", "sqlite:///x", "kafka://broker:9092/topic"])
def test_what_is_no_cluster_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="use kafka://"):
        KafkaSettings.from_url(url)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(ValueError, match="unknown option session_second,"):
        KafkaSettings.from_url("kafka://broker:9092?session_second=6")


def test_every_key_is_documented() -> None:
    docs = Path(__file__).parents[4] / "docs"
    keys = {*KafkaSettings.__struct_fields__} - {"bootstrap", "username", "password"}
    reference = (docs / "configuration.md").read_text()
    assert set(re.findall(r"^### `kafka://\?(\w+)`$", reference, re.MULTILINE)) == keys
    table = set(
        re.findall(
            r"^\| `(?!sightline_)(\w+)` \|", (docs / "kafka.md").read_text().partition("## Rights")[0], re.MULTILINE
        )
    )
    assert {"delivery", "security", "mechanism", "ca_file"} <= table <= keys
