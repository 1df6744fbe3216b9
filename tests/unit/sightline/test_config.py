"""One configuration from file, environment and flags; all mistakes are reported at once."""

from pathlib import Path

import pytest

from sightline.config import Config, load, renamed_keys
from sightline.config_parser import ConfigError, from_environment
from sightline.wiring.parts import make_transport
from streams.lifecycle.storage_settings import StorageSettings
from streams.sqlite.transport import SqliteTransport


def write(folder: Path, text: str) -> Path:
    path = folder / "sightline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_environment_wins_over_file_and_flags_over_both(tmp_path: Path) -> None:
    file = write(tmp_path, "partitions = 2\n[worker]\nbatch_frames = 3\n[search]\nlimit = 4\n")
    environment = {"SIGHTLINE_WORKER__BATCH_FRAMES": "5", "SIGHTLINE_SEARCH__LIMIT": "6"}
    config = load(file, {"search": {"limit": 7}}, environment)
    assert (config.partitions, config.worker.batch_frames, config.search.limit) == (2, 5, 7)


def test_all_mistakes_are_reported_at_once_with_their_keys(tmp_path: Path) -> None:
    file = write(tmp_path, 'partitions = 0\nmodles = "tiny"\n[worker]\nbatch_frames = "many"\n[serve]\nport = 70000\n')
    with pytest.raises(ConfigError) as caught:
        load(file, environment={})
    text = str(caught.value)
    assert len(caught.value.errors) == 4
    assert "modles: unknown key; did you mean models?" in text
    assert "worker.batch_frames = 'many'" in text
    assert "serve.port = 70000" in text
    assert "partitions = 0" in text


def test_contradictions_between_keys_are_reported(tmp_path: Path) -> None:
    file = write(tmp_path, "[worker]\nbatch_frames = 512\nin_flight_frames = 16\n")
    with pytest.raises(ConfigError, match="worker: batch_frames is larger than in_flight_frames"):
        load(file, environment={})


def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sightline\.toml: not TOML: .*line 2"):
        load(write(tmp_path, "partitions = 2\n= 3\n"), environment={})


def test_the_error_of_a_wrong_tenant_names_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"tenant 'a/b': use 1 to 63 of"):
        load(None, {"tenant": "a/b"}, {})


def test_values_of_the_environment_are_read_as_toml_if_they_are_toml() -> None:
    tables = from_environment({"SIGHTLINE_SEGMENTS": '[["decode"], ["decode", "embed"]]', "SIGHTLINE_MODELS": "tiny"})
    assert tables == {"segments": [["decode"], ["decode", "embed"]], "models": "tiny"}


def test_everything_embedded_lies_in_the_data_folder(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path))
    assert config.transport_url == f"sqlite:///{tmp_path}/log.sqlite"
    assert config.index_url == f"edge:{tmp_path}/index"
    assert config.blobs_url == f"{tmp_path}/blobs"


def test_contradictory_limits_of_storage_are_reported_at_once(tmp_path: Path) -> None:
    limits = "log_hours = 48\npicture_hours = 24\npicture_bytes = 10\n[storage.feeds.gate]\nhours = 12\nbytes = 20\n"
    text = f"[storage]\n{limits}"
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), environment={})
    message = str(caught.value)
    assert "picture_hours = 24 is less than log_hours = 48" in message
    assert "feeds.gate.hours = 12 is less than log_hours = 48" in message
    assert "feeds.gate.bytes = 20 is more than picture_bytes = 10" in message


def test_the_earlier_name_of_the_log_hours_is_read_and_the_new_one_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "[retention]\nhours = 5\n")
    assert load(file, environment={}).storage.log_hours == 5
    assert load(file, {"retention": {"hours": 7}}, {}).storage.log_hours == 7
    assert load(file, environment={"SIGHTLINE_STORAGE__LOG_HOURS": "6"}).storage.log_hours == 6
    (line,) = renamed_keys(file)
    assert "retention.hours is now storage.log_hours" in line
    assert renamed_keys(write(tmp_path, "[storage]\nlog_hours = 5\n")) == []


def test_the_budget_of_the_log_reaches_the_embedded_log_unless_its_address_has_one(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), storage=StorageSettings(log_bytes=5_000_000))
    assert _log(config).settings.max_bytes == 5_000_000
    own = Config(data=str(tmp_path), transport=f"sqlite:///{tmp_path}/log.sqlite?max_bytes=7000000")
    assert _log(own).settings.max_bytes == 7_000_000


def _log(config: Config) -> SqliteTransport:
    transport = make_transport(config)
    assert isinstance(transport, SqliteTransport)
    return transport
