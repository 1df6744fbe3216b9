"""Damage to files as data, and whether a deployment in a folder tells of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from pathlib import Path

from stores.errors import StoreError
from stores.sparse_files import copy_sparse
from streams.errors import StreamError
from streams.lifecycle.known_frames import KnownFrame, known_frames
from streams.lifecycle.stored_pictures import compare_pictures
from streams.topic_reader import read_topic
from tests.support.deployment import Deployment, collections, deployed
from tests.support.edge_folder import edge_folder
from tests.support.fault_stages import EMBEDDING_STAGES

by_id = attrgetter("id")
FLIPS = 5
TOLD_SECONDS = 60.0
"""Longer is a hang."""
PICTURES = ("originals_missing", "originals_damaged", "thumbnails_missing", "thumbnails_damaged")
"""Faults that are of a picture's file."""
WAY_OUT = "sightline re"
"""`sightline repair` or `sightline restore`."""
PASSING = (".lock", ".sock", "-shm", ".log", "opening", ".new")
"""Ends of the names of files that no data is in: locks, sockets, shared memory, logs."""


@dataclass(frozen=True)
class Damage:
    """A file is cut to half, or a byte at `flip` of its length (of 0 to `FLIPS` - 1) is flipped."""

    flip: int | None = None

    def do(self, path: Path) -> None:
        size = path.stat().st_size
        if self.flip is None:
            os.truncate(path, size // 2)
            return
        with path.open("r+b") as file:
            file.seek(at := (size - 1) * self.flip // (FLIPS - 1))
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x55]))


DAMAGES = (Damage(), *map(Damage, range(FLIPS)))


def data_files(folder: Path) -> Iterator[Path]:
    """Every file of a data folder that holds data, relative to it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size and not path.name.endswith(PASSING):
            yield path.relative_to(folder)


def copied(source: Path, target: Path) -> None:
    """Copy a data folder that no process has open; `target` is made."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if path.is_dir():
            (target / path.relative_to(source)).mkdir(parents=True, exist_ok=True)
        elif path.is_file() and not path.name.endswith((".lock", ".sock")):
            copy_sparse(str(path), str(target / path.relative_to(source)))


@dataclass(frozen=True)
class Seen:
    """What a deployment says of its damage, and a hash of all that it returns: records, points, vectors, pictures."""

    told: str
    content: str = ""


async def seen(folder: Path) -> Seen:
    """Opens, examines and reads the deployment in `folder`. Raises TimeoutError for a hang."""
    with edge_folder(folder / "index"):
        try:
            async with asyncio.timeout(TOLD_SECONDS), deployed(folder, fresh=False) as here:
                faults = await all_faults(here)
                content = await _content(here, [spec.name for spec in collections().values()])
        except (StreamError, StoreError) as error:
            return Seen(str(error))
    return Seen("; ".join(f"{fault}: {', '.join(found)}" for fault, found in faults.items()), content)


async def all_faults(here: Deployment) -> dict[str, list[str]]:
    """As `sightline check --deep`: frames, points and files by what is wrong with them. Empty: all is well."""
    findings = await here.findings()
    known = await known_frames(here.transport, here.index, embedding_stages=EMBEDDING_STAGES, groups={})
    pictures = await compare_pictures(known, here.blobs, ["default"], deep=True)
    verified = [await here.index.verify(spec.name) for spec in collections().values()]
    files = {
        fault: [_file(fault, known.frames[frame]) for frame in found] if fault in PICTURES else found
        for fault, found in pictures.faults.items()
    }
    damaged = [point for each in verified for point in each.damaged]
    lost = [f"{each.missing} points" for each in verified if each.missing]
    more = {"damaged_points": damaged, "lost_points": lost}
    return {**findings.faults, **files, **{fault: found for fault, found in more.items() if found}}


def _file(fault: str, frame: KnownFrame) -> str:
    """The name of a picture's file."""
    uri = frame.thumbnail if fault.startswith("thumbnails") else frame.uri
    return uri.rpartition("/")[-1]


async def _content(here: Deployment, names: Sequence[str]) -> str:
    digest = sha256()
    for topic in sorted(await here.transport.topics()):
        async for record in read_topic(here.transport, topic):
            digest.update(repr((topic, record.offset, record.key, record.value, record.headers)).encode())
    for name in names:
        hits, _ = await here.index.scroll(name, limit=1000)
        for hit in sorted(await here.index.get(name, [hit.id for hit in hits], with_vectors=["semantic"]), key=by_id):
            digest.update(repr((hit.id, sorted(hit.payload.items()), hit.vectors)).encode())
    return digest.hexdigest()
