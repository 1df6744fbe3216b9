"""Fetching weights when somebody asks for it, and checking those that are there; nothing else ever uses the network.

A file arrives as `NAME.part`, goes on where it broke off, and gets its name only when its hash is right. Hashes that a
preset does not know are compared with what the server says of the file (`X-Linked-Etag`, which Hugging Face sends for
large files) and kept in `checksums.json`, so that the next fetch and every `verify` hold the file to the first one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import stamina

from processors.models.presets import File, Model

Progress = Callable[[Model, File, int, int], None]
"""Called with the model, the file, bytes that are there and bytes in all (0: not known)."""
CHECKSUMS = "checksums.json"
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0
HUB = "https://huggingface.co"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FetchError(Exception):
    """Weights could not be fetched, or are not the ones named; the message says which and why."""


class Passing(FetchError):  # noqa: N818 - named for what it is
    """A failure that may pass: the server is away or busy, the connection broke."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What `verify` says of one file."""

    model: Model
    file: File
    state: Literal["ok", "unknown", "missing", "wrong"]
    """`unknown`: it is there, and nobody ever said what its hash should be."""


def pull(
    models: Sequence[Model],
    root: Path,
    progress: Progress = lambda model, file, done, total: None,
    *,
    attempts: int = 6,
    wait_seconds: float = 1.0,
) -> None:
    """Fetch what is missing or wrong into `root/FOLDER`. Raises FetchError; what has arrived stays for next time.

    `attempts` for each file in all, waiting from `wait_seconds` on, doubled each time, with jitter. A mirror of the
    hub is taken from `HF_ENDPOINT`, as its own tools do.
    """
    for model in models:
        folder = root / model.folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in model.files:
            if _state(folder, file) in ("ok", "unknown"):
                continue
            for attempt in stamina.retry_context(
                on=Passing, attempts=attempts, timeout=None, wait_initial=wait_seconds
            ):
                with attempt:
                    _fetch(model, file, folder, progress)


def verify(models: Sequence[Model], root: Path) -> list[Finding]:
    """One finding per file, in order."""
    return [Finding(model, file, _state(root / model.folder, file)) for model in models for file in model.files]


def _state(folder: Path, file: File) -> Literal["ok", "unknown", "missing", "wrong"]:
    path = folder / file.name
    if not path.is_file():
        return "missing"
    expected = file.sha256 or _recorded(folder).get(file.name, "")
    if not expected:
        return "unknown"
    return "ok" if _sha256(path) == expected else "wrong"


def _fetch(model: Model, file: File, folder: Path, progress: Progress) -> None:
    part = folder / f"{file.name}.part"
    have = part.stat().st_size if part.exists() else 0
    address = model.address(file)
    if endpoint := os.environ.get("HF_ENDPOINT"):
        address = address.replace(HUB, endpoint.rstrip("/"), 1)
    with _answer(address, have, file) as answer:
        resumed = answer.status == 206
        done = have if resumed else 0
        length = int(answer.headers.get("Content-Length") or 0)
        total = done + length if length else file.size_bytes
        with part.open("ab" if resumed else "wb") as out:
            for chunk in _chunks(answer):
                out.write(chunk)
                done += len(chunk)
                progress(model, file, done, total)
        announced = str(answer.headers.get("X-Linked-Etag") or "").strip('"')
    if length and done < total:
        raise Passing(f"{address}: broke off at {done} of {total} bytes")
    _accept(part, folder, file, announced if _SHA256.fullmatch(announced) else "", address)


def _answer(address: str, have: int, file: File) -> Any:
    """The open answer. Raises Passing for what may pass, FetchError for what will not."""
    headers = {"User-Agent": "sightline"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        return urllib.request.urlopen(  # noqa: S310 - addresses come from the presets
            urllib.request.Request(address, headers=headers),  # noqa: S310
            timeout=TIMEOUT_SECONDS,
        )
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # the part is already as long as the file, or longer
            return _answer(address, 0, file)
        if error.code in (408, 425, 429) or error.code >= 500:
            raise Passing(f"{address}: the server answered {error.code}") from error
        raise FetchError(f"{address}: the server answered {error.code}; is the revision still there?") from error
    except (OSError, HTTPException) as error:
        raise Passing(f"{address}: {error}") from error


def _chunks(answer: Any) -> Iterator[bytes]:
    try:
        while chunk := answer.read(CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise Passing(f"{answer.url}: {error}") from error


def _accept(part: Path, folder: Path, file: File, announced: str, address: str) -> None:
    """Give a complete file its name if its hash is right, and remember the hash."""
    found, recorded = _sha256(part), _recorded(folder)
    expected = file.sha256 or recorded.get(file.name) or announced
    if expected and found != expected:
        part.unlink()
        raise FetchError(f"{address}: SHA-256 {found} instead of {expected}; nothing was kept")
    with part.open("rb") as written:
        os.fsync(written.fileno())
    if not file.sha256:
        whole = json.dumps(recorded | {file.name: found}, indent=1, sort_keys=True)
        (folder / CHECKSUMS).write_text(whole + "\n")
    part.replace(folder / file.name)


def _recorded(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / CHECKSUMS).read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise FetchError(f"{folder / CHECKSUMS}: {error}; remove it to record anew") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
