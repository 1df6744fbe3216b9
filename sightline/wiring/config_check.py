"""Every mistake of a configuration that would end a command at its start, found without starting anything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from processors.errors import StageError
from sightline.config import Config
from sightline.config_parser import ConfigError, reasons
from sightline.wiring.stage_loader import Stages, find_stages
from sightline.wiring.weights import check_device, missing_weights
from stores.open import open_blobs, open_index
from streams.sources.url_guard import redacted

PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*@")


def check_config(config: Config) -> None:
    """Raises ConfigError with all of `config_mistakes`."""
    if found := config_mistakes(config):
        raise ConfigError(found)


def config_mistakes(config: Config) -> list[str]:
    """A line for each mistake: stages and plan, addresses and their options, files, device and weights."""
    stages, errors, plan_reasons = find_stages(config)
    found = [
        *errors,
        *plan_reasons,
        *_construction_mistakes(stages),
        *(f"transport: {reason}" for reason in reasons(lambda: check_transport(config.transport_url))),
        *reasons(lambda: open_index(config.index_url), lambda: open_blobs(config.blobs_url)),
        *_data_mistakes(config),
        *_of_config_error(lambda: check_device(config.worker.device)),
        *_of_config_error(lambda: missing_weights(config)),
    ]
    return list(dict.fromkeys(found))


def check_transport(url: str) -> None:
    """Raises ValueError for an unknown scheme, wrong options, and certificates that cannot be read."""
    if url.startswith("sqlite:"):
        from streams.sqlite.transport import SqliteTransport

        SqliteTransport.from_url(url)
    elif url.startswith("kafka:"):
        from streams.kafka.settings import KafkaSettings

        KafkaSettings.from_url(url).check_files()
    else:
        raise ValueError(f"{redacted(url)}: use sqlite:///PATH (the embedded log) or kafka://HOST:PORT")


def without_passwords(config: Config) -> dict[str, Any]:
    """The effective values, to be shown."""
    shown: dict[str, Any] = msgspec.to_builtins(config)
    return shown | {key: PASSWORD.sub(r"\1:…@", shown[key]) for key in ("transport", "index", "blobs")}


def _construction_mistakes(stages: Stages) -> Iterator[str]:
    """What the stages say that refuse their settings when they are made; nothing is loaded."""
    for name, settings in stages.settings.items():
        if settings is None:
            continue
        try:
            stages.classes[name](settings)
        except (ValueError, TypeError, OSError, StageError) as error:
            yield f"stages.{name}: {error}"


def _data_mistakes(config: Config) -> Iterator[str]:
    """What is in the way of a data folder that the embedded log, index or blobs need."""
    if config.transport and config.index and config.blobs:
        return
    existing = next(path for path in (config.data_path, *config.data_path.parents) if path.exists())
    if not existing.is_dir():
        yield f"data = {config.data!r}: {existing} is not a folder"
    elif not os.access(existing, os.W_OK):
        yield f"data = {config.data!r}: {existing} cannot be written"


def _of_config_error(check: Callable[[], list[str] | None]) -> list[str]:
    try:
        return check() or []
    except ConfigError as error:
        return error.errors
