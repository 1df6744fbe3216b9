"""One configuration for everything: a TOML file, the environment over it, flags over both.

`load` refuses what cannot work and tells every mistake at once; `config check` prints the result.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from schemas.identity import DEFAULT_TENANT, check_name
from sightline.config_parser import ConfigError, from_environment, merged, read_file, shaped
from streams.analytics.settings import AnalyticsSettings
from streams.sources.fetcher import FetchSettings
from streams.sources.image_search import ImageSearch
from streams.worker.settings import WorkerSettings

DEFAULT_FILE = Path("sightline.toml")
FUSED = (("decode", "gate", "detect", "track", "caption", "embed"),)
"""The default plan: every stage in one process. `refine` and `moderate` join it when their files exist."""

Positive = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]


class SearchSettings(Struct, frozen=True, kw_only=True):
    threshold: Probability | None = None
    """Below this probability of a match a picture is not shown, and if none is above, "nothing matches" is said; not
    given, the calibration's own threshold holds."""
    limit: Positive = 12


class ServeSettings(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: Port = 8000
    allowed_hosts: tuple[str, ...] = ()
    """Names beside this machine's own that the page answers to; `*` is any, for a proxy that checks them itself."""
    metrics_port: Port = 9108
    """Where `work` serves /metrics, /readyz and /healthz; 0 takes a free one."""


class RetentionSettings(Struct, frozen=True, kw_only=True):
    hours: Annotated[float, Meta(gt=0)] = 168.0
    """How long frame topics keep records that every registered group has finished."""


class Config(Struct, frozen=True, kw_only=True):
    """See `docs/configuration.md` for each key with an example."""

    tenant: str = DEFAULT_TENANT
    data: str = "sightline-data"
    """Folder of everything embedded: log, index, blobs."""
    transport: str = ""
    """`sqlite:///PATH` or `kafka://HOST:PORT`; empty is the log in the data folder."""
    index: str = ""
    """`http://HOST:6334` of a Qdrant server; empty is the embedded index in the data folder."""
    blobs: str = ""
    """A folder or the URL of an object store; empty is `blobs` in the data folder."""
    models: str = "tiny"
    """A preset (`tiny`, `base`, `large`)."""
    model_folder: str = ""
    """Where `models pull` keeps weights; empty is the user's cache."""
    partitions: Positive = 8
    workers: Positive = 1
    """Workers that share this machine: each computes with its part of the cores."""
    log_format: Literal["auto", "console", "json"] = "auto"
    segments: tuple[tuple[str, ...], ...] = FUSED
    stages: dict[str, dict[str, Any]] = {}
    """`[stages.NAME]`: the settings of a stage, and `file` for a stage of your own."""
    worker: WorkerSettings = WorkerSettings()
    fetch: FetchSettings = FetchSettings()
    apis: dict[str, ImageSearch] = {}
    """`[apis.NAME]`: image-search APIs beside the shipped ones, for `explore`."""
    search: SearchSettings = SearchSettings()
    serve: ServeSettings = ServeSettings()
    retention: RetentionSettings = RetentionSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()

    def __post_init__(self) -> None:
        check_name("tenant", self.tenant)

    @property
    def data_path(self) -> Path:
        return Path(self.data).expanduser().absolute()

    @property
    def transport_url(self) -> str:
        return self.transport or f"sqlite:///{quote(str(self.data_path / 'log.sqlite'))}"

    @property
    def index_url(self) -> str:
        return self.index or f"edge:{self.data_path / 'index'}"

    @property
    def blobs_url(self) -> str:
        return self.blobs or str(self.data_path / "blobs")


def load(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and check. `file` defaults to `sightline.toml` where it exists. Raises ConfigError with all mistakes."""
    tables = read_file(file or DEFAULT_FILE) if file or DEFAULT_FILE.exists() else {}
    environment = os.environ if environment is None else environment
    errors: list[str] = []
    config = shaped(Config, merged(tables, from_environment(environment), flags or {}), errors)
    if config is None:
        raise ConfigError(errors)
    return config
