"""The configuration: a TOML file, overridden by the environment, overridden by flags.

`load` reports all mistakes at once; `sightline config check` prints the effective values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from schemas.identity import DEFAULT_TENANT, check_name
from schemas.topics import DEFAULT_PARTITIONS, check_namespace
from schemas.zones import zone_named
from sightline.config_parser import (
    ConfigError,
    from_environment,
    holds,
    merged,
    nearest,
    read_file,
    reasons,
    with_new_names,
)
from stores.open import blob_folder
from streams.analytics.settings import AnalyticsSettings
from streams.lifecycle.storage_settings import StorageSettings
from streams.sources.fetcher import FetchSettings
from streams.sources.image_search import ImageSearch
from streams.worker.settings import WorkerSettings

DEFAULT_FILE = Path("sightline.toml")
RENAMED = {("retention", "hours"): ("storage", "log_hours")}
"""Keys of earlier versions, which are read as the new ones."""
FUSED = (("decode", "gate", "detect", "track", "caption", "embed"),)
"""The default plan: every stage in one process."""

Positive = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]


class SearchSettings(Struct, frozen=True, kw_only=True):
    threshold: Probability | None = None
    """Probability of a match below which a picture is not shown; if no picture reaches it, nothing matches. Not set, it
    is the calibration's own threshold."""
    limit: Annotated[int, Meta(ge=1, le=200)] = 12
    """Maximum number of pictures in a result, 1 to 200."""


class ServeSettings(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """Address that the page, the analytics and a worker's metrics listen on."""
    port: Port = 8000
    """Port of the page; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that the page answers to, beside localhost and every IP address; `*` is any, for a proxy that checks
    them."""
    metrics_port: Port = 9108
    """Port where `work` and `feeds run` serve /metrics, /readyz and /healthz; 0 takes a free one. While the default is
    in use by another process of this machine, a free one is taken and printed; any other port is refused."""


class Config(Struct, frozen=True, kw_only=True):
    """`docs/configuration.md` lists every key with its default and an example."""

    tenant: str = DEFAULT_TENANT
    """Tenant whose frames this deployment ingests and shows; a part of ids, record keys and blob paths."""
    namespace: str = ""
    """Prefix of this deployment's topics, groups, transactional ids and collections, so that several deployments share
    a Kafka cluster and a Qdrant server; empty is none."""
    data: str = "sightline-data"
    """Folder of the embedded log, index and blobs."""
    transport: str = ""
    """`sqlite:///PATH` or `kafka://HOST:PORT`; empty is the log in the data folder."""
    index: str = ""
    """`http://HOST:6333` of a Qdrant server; empty is the embedded index in the data folder."""
    blobs: str = ""
    """A folder or the URL of an object store; empty is `blobs` in the data folder."""
    models: str = "tiny"
    """Model preset: `tiny`, `base` or `large`."""
    model_folder: str = ""
    """Folder where `models pull` puts weights; empty is the user's cache."""
    partitions: Positive = DEFAULT_PARTITIONS
    """Partitions of every frame topic. The number cannot change once the topics exist."""
    timezone: str = ""
    """IANA name (`Europe/Berlin`) of the zone of EXIF dates that name none, of days in searches and of printed times;
    empty is this machine's zone."""
    workers: Positive = 1
    """Number of workers that share this machine; each uses its part of the cores."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """Of standard error. `json`: every line is JSON, also sentences such as "drained and committed". `auto` is `json`
    for `work`, `feeds run`, `serve` and `analytics` where it is not a terminal, and else `console`."""
    segments: tuple[tuple[str, ...], ...] = FUSED
    """The plan: the stages of each segment, in order. A worker runs one segment."""
    stages: dict[str, dict[str, Any]] = {}
    """`[stages.NAME]`: the settings of a stage, and `file` for a stage of your own."""
    worker: WorkerSettings = WorkerSettings()
    fetch: FetchSettings = FetchSettings()
    apis: dict[str, ImageSearch] = {}
    """`[apis.NAME]`: image-search APIs for `explore`, beside the shipped ones."""
    search: SearchSettings = SearchSettings()
    serve: ServeSettings = ServeSettings()
    storage: StorageSettings = StorageSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()

    def __post_init__(self) -> None:
        wrong = reasons(
            lambda: check_name("tenant", self.tenant),
            lambda: check_namespace(self.namespace),
            lambda: zone_named(self.timezone),
        )
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def data_path(self) -> Path:
        return Path(self.data).expanduser().absolute()

    @property
    def zone(self) -> tzinfo | None:
        """Of `timezone`; None is the machine's own."""
        return zone_named(self.timezone)

    @property
    def transport_url(self) -> str:
        return self.transport or f"sqlite:///{quote(str(self.data_path / 'log.sqlite'))}"

    @property
    def index_url(self) -> str:
        return self.index or f"edge:{self.data_path / 'index'}"

    @property
    def blobs_url(self) -> str:
        return self.blobs or str(self.data_path / "blobs")

    @property
    def inline_limit_bytes(self) -> int:
        """Of originals inside records: none with a folder of blobs beside the embedded log, since a picture lies on a
        disk once and is read from it as quickly."""
        one_disk = self.transport_url.startswith("sqlite:") and blob_folder(self.blobs_url) is not None
        return 0 if one_disk else self.worker.inline_limit_bytes


def load(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and check. `file` defaults to `sightline.toml`, if it exists. Raises ConfigError with all mistakes."""
    config, mistakes = load_with_mistakes(file, flags, environment)
    if mistakes:
        raise ConfigError(mistakes)
    return config


def load_with_mistakes(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Config, list[str]]:
    """The configuration with defaults in place of wrong keys, and a line for each of these.

    Raises ConfigError for a file that cannot be read at all.
    """
    mistakes: list[str] = []
    sources = [with_new_names(source, RENAMED) for source in _sources(file, flags, environment)]
    config = nearest(Config, merged(*sources), mistakes)
    return config or Config(), mistakes


def renamed_keys(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> list[str]:
    """A line for each key of the configuration that is written with a name of an earlier version."""
    tables = merged(*_sources(file, flags, None))
    return [
        f"{'.'.join(old)} is now {'.'.join(new)}; it is read as such: write the new name"
        for old, new in RENAMED.items()
        if holds(tables, old)
    ]


def _sources(
    file: Path | None, flags: Mapping[str, Any] | None, environment: Mapping[str, str] | None
) -> list[Mapping[str, Any]]:
    """The tables of file, environment and flags, later ones win. Raises ConfigError."""
    tables = read_file(file or DEFAULT_FILE) if file or DEFAULT_FILE.exists() else {}
    return [tables, from_environment(os.environ if environment is None else environment), flags or {}]
