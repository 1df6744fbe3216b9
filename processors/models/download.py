"""Downloading weights on request, and checking those on disk; nothing else ever uses the network.

A file is written to `NAME.part`, resumed after a lost connection, and renamed only when its hash is right. A hash that
a preset does not know is compared with what the server announces for the file (`X-Linked-Etag`, which Hugging Face
sends for large files) and kept in `checksums.json`; later downloads and every `verify` compare the file with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import stamina

from processors.models.presets import File, Model

Progress = Callable[[Model, File, int, int], None]
"""Called with the model, the file, bytes on disk and bytes in all (0: not known)."""
CHECKSUMS = "checksums.json"
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0
HUB = "https://huggingface.co"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DownloadError(Exception):
    """Weights could not be downloaded, or are not the ones named; the message says which and why."""


class TransientDownloadError(DownloadError):
    """The server is unavailable or busy, or the connection was lost: a retry may succeed."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The result of `verify` for one file."""

    model: Model
    file: File
    state: Literal["ok", "unknown", "missing", "wrong"]
    """`unknown`: the file is there, and no hash to compare it with."""


def pull(
    models: Sequence[Model],
    root: Path,
    progress: Progress = lambda model, file, done, total: None,
    *,
    attempts: int = 6,
    wait_seconds: float = 1.0,
) -> None:
    """Download files that are missing or wrong into `root/FOLDER`. Raises DownloadError; what arrived is kept.

    Each file has `attempts` in all, with waits that start at `wait_seconds` and double, with jitter. `HF_ENDPOINT`
    names a mirror of the hub, as for the hub's own tools.
    """
    _check_room(models, root)
    for model in models:
        folder = root / model.folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in model.files:
            if _state(folder, file) in ("ok", "unknown"):
                continue
            for attempt in stamina.retry_context(
                on=TransientDownloadError, attempts=attempts, timeout=None, wait_initial=wait_seconds
            ):
                with attempt, _naming(folder / file.name):
                    _download(model, file, folder, progress)


def _check_room(models: Sequence[Model], root: Path) -> None:
    """Raises DownloadError where the disk has no room for the files that are not there, as far as sizes are known."""
    needed = 0
    for model in models:
        for file in model.files:
            path = root / model.folder / file.name
            part = path.with_name(f"{path.name}.part")
            if not path.exists():
                needed += max(file.size_bytes - (part.stat().st_size if part.exists() else 0), 0)
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    if needed > (free := shutil.disk_usage(existing).free):
        raise DownloadError(f"{root}: {needed / 1e9:.1f} GB are needed, and its disk has {free / 1e9:.1f} GB free")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raises DownloadError for what the disk refuses; what the network refuses is one already."""
    try:
        yield
    except OSError as error:
        raise DownloadError(f"{path}: {error.strerror or error}") from error


def verify(models: Sequence[Model], root: Path) -> list[FileCheck]:
    """One result per file, in order."""
    return [FileCheck(model, file, _state(root / model.folder, file)) for model in models for file in model.files]


def _state(folder: Path, file: File) -> Literal["ok", "unknown", "missing", "wrong"]:
    path = folder / file.name
    if not path.is_file():
        return "missing"
    expected = file.sha256 or _recorded_hashes(folder).get(file.name, "")
    if not expected:
        return "unknown"
    return "ok" if _sha256(path) == expected else "wrong"


def _download(model: Model, file: File, folder: Path, progress: Progress) -> None:
    part = folder / f"{file.name}.part"
    have = part.stat().st_size if part.exists() else 0
    address = model.address(file)
    if endpoint := os.environ.get("HF_ENDPOINT"):
        address = address.replace(HUB, endpoint.rstrip("/"), 1)
    with _request(address, have) as response:
        resumed = response.status == 206
        done = have if resumed else 0
        length = int(response.headers.get("Content-Length") or 0)
        total = done + length if length else file.size_bytes
        with part.open("ab" if resumed else "wb") as out:
            for chunk in _chunks(response):
                out.write(chunk)
                done += len(chunk)
                progress(model, file, done, total)
        announced = str(response.headers.get("X-Linked-Etag") or "").strip('"')
    if length and done < total:
        raise TransientDownloadError(f"{address}: connection lost at {done} of {total} bytes")
    _accept(part, folder, file, announced if _SHA256.fullmatch(announced) else "", address)


def _request(address: str, have: int) -> Any:
    """The open response, from byte `have` on. Raises TransientDownloadError or DownloadError."""
    headers = {"User-Agent": "sightline"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        return urllib.request.urlopen(  # noqa: S310 - addresses come from the presets
            urllib.request.Request(address, headers=headers),  # noqa: S310
            timeout=TIMEOUT_SECONDS,
        )
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # the part is already as long as the file, or longer
            return _request(address, 0)
        if error.code in (408, 425, 429) or error.code >= 500:
            raise TransientDownloadError(f"{address}: the server answered {error.code}") from error
        raise DownloadError(f"{address}: the server answered {error.code}; is the revision still there?") from error
    except (OSError, HTTPException) as error:
        raise TransientDownloadError(f"{address}: {error}") from error


def _chunks(response: Any) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise TransientDownloadError(f"{response.url}: {error}") from error


def _accept(part: Path, folder: Path, file: File, announced: str, address: str) -> None:
    """Rename a complete file if its hash is right, and record the hash. Raises DownloadError and removes it if not."""
    actual, recorded = _sha256(part), _recorded_hashes(folder)
    expected = file.sha256 or recorded.get(file.name) or announced
    if expected and actual != expected:
        part.unlink()
        raise DownloadError(f"{address}: SHA-256 {actual} instead of {expected}; nothing was kept")
    with part.open("rb") as written:
        os.fsync(written.fileno())
    if not file.sha256:
        hashes = json.dumps(recorded | {file.name: actual}, indent=1, sort_keys=True)
        (folder / CHECKSUMS).write_text(hashes + "\n")
    part.replace(folder / file.name)


def _recorded_hashes(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / CHECKSUMS).read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise DownloadError(f"{folder / CHECKSUMS}: {error}; remove the file to record the hashes again") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
