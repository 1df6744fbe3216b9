"""A log that is gone beside an index or pictures that are there: no empty one takes its place without a word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from sightline.config import Config
from stores.errors import Missing
from stores.folder import PARTIAL
from stores.notes import NOTES
from stores.open import blob_folder

EMBEDDED = "edge:"
ASIDE = ".damaged-"
CATALOGS = ("catalog.json", "catalog.copy.json")
"""Names the collections of an embedded index; there is none before the first one."""
WAY_OUT = (
    "run `sightline restore FROM` with a backup, or `sightline repair`, which makes a new log from the index and the "
    "pictures"
)
log = structlog.get_logger("sightline.wiring")


def check_log(config: Config) -> None:
    """Raises Missing where the embedded log is gone, and the index or the pictures of the data folder are there."""
    if (path := log_path(config)) is None or path.exists():
        return
    if left := [*index_left(config), *_pictures_left(config)]:
        raise Missing(f"{path}: the log is gone, and {' and '.join(left)} belonged to it; {WAY_OUT}")
    if (folder := blob_folder(config.blobs_url)) is not None and has_pictures(folder):
        log.warning("new_log_beside_pictures", log=str(path), pictures=str(folder), why="they belong to another log")


def missing_log(config: Config) -> list[str]:
    """The line of `check_log`, for a command that goes on without the log."""
    try:
        check_log(config)
    except Missing as gone:
        return [str(gone)]
    return []


def set_log_aside(config: Config) -> list[Path]:
    """Rename the embedded log and its side files; where it is now. Blocks. Raises Unavailable while it is in use."""
    from streams.sqlite.backup import check_unused, side_files

    if (path := log_path(config)) is None:
        return []
    files = [file for file in (path, *side_files(path)) if file.exists()]
    check_unused(path)
    suffix = f"{ASIDE}{time.strftime('%Y%m%dT%H%M%S')}"
    # The log first: side files without a log are told, a log without its write-ahead log would be taken for whole.
    return [file.rename(file.with_name(file.name + suffix)) for file in files][:1]


def has_log_aside(config: Config) -> bool:
    """Whether a damaged log lies beside the embedded one: some of its records may be nowhere else."""
    path = log_path(config)
    return path is not None and any(path.parent.glob(f"{path.name}{ASIDE}*"))


def log_path(config: Config) -> Path | None:
    """The embedded log's file."""
    if not config.transport_url.startswith("sqlite:"):
        return None
    from streams.sqlite.transport import SqliteTransport

    try:
        return SqliteTransport.from_url(config.transport_url).path.absolute()
    except ValueError:
        return None  # what opens it says what is wrong


def index_left(config: Config) -> Iterator[str]:
    """The folder of the embedded index, where it has collections."""
    if (folder := index_folder(config)) is not None and any((folder / name).exists() for name in CATALOGS):
        yield f"the index {folder}"


def index_folder(config: Config) -> Path | None:
    """The embedded index's folder."""
    is_embedded = config.index_url.startswith(EMBEDDED)
    return Path(config.index_url.removeprefix(EMBEDDED)).absolute() if is_embedded else None


def picture_folder(config: Config) -> Path | None:
    """The folder of originals and thumbnails; None for an object store."""
    folder = blob_folder(config.blobs_url)
    return None if folder is None else folder.absolute()


def _pictures_left(config: Config) -> Iterator[str]:
    """Pictures in the data folder are the lost log's; a folder elsewhere may be that of several deployments."""
    folder = blob_folder(config.blobs_url)
    if folder is not None and folder.absolute().is_relative_to(config.data_path) and has_pictures(folder):
        yield f"the pictures {folder.absolute()}"


def found_pictures_folder(config: Config) -> None:
    """Make the folder of pictures again where it is gone: from now on an ingest may write to it."""
    if (folder := blob_folder(config.blobs_url)) is not None and not has_pictures(folder):
        (folder / PARTIAL).mkdir(parents=True, exist_ok=True)


def has_pictures(folder: Path) -> bool:
    """Whether anything was ever put into the folder of pictures, and it is the same folder still."""
    return folder.is_dir() and any(path.name != NOTES for path in folder.iterdir())
