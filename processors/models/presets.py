"""The sets of models that work together, as data (`presets.json`): which folder, from where, which revision and hashes.

The caller decides where folders lie. The files of `tiny` are shipped and listed by the manifest beside them. A hash
that is not published is empty here; the first download records it (see `download.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["detect", "caption", "matching", "semantic", "visual", "segment"]
TINY = "tiny"
TINY_FOLDERS: dict[Role, str] = {
    "detect": "yolov9",
    "caption": "blip",
    "matching": "blip_itm",
    "semantic": "clip",
    "visual": "vit",
    "segment": "sam",
}


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model."""

    name: str
    sha256: str = ""
    """Empty: not published."""
    size_bytes: int = 0
    """Approximate where the hash is empty; 0: not known, and small."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a preset: what it is for, its folder, and where its files come from."""

    role: Role
    folder: str
    source: str = ""
    """Address of a file, with `{revision}` and `{name}` in it; empty: shipped."""
    revision: str = ""
    license: str = ""
    files: tuple[File, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def address(self, file: File) -> str:
        """The URL of one of its files."""
        return self.source.format(revision=self.revision, name=file.name)


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """Models that work together; `about` is one line for people."""

    about: str
    models: tuple[Model, ...]

    @property
    def size_bytes(self) -> int:
        return sum(model.size_bytes for model in self.models)

    def folders(self, root: Path) -> dict[Role, Path]:
        """Where each role's weights lie under the preset's own folder `root`."""
        return {model.role: root / model.folder for model in self.models}


def presets(tiny_manifest: Path | None = None) -> dict[str, Preset]:
    """All presets by name; with the path of its `manifest.json`, `tiny` lists its files too.

    Raises ValueError when the manifest is damaged.
    """
    known = msgspec.json.decode(Path(__file__).with_suffix(".json").read_bytes(), type=dict[str, Preset])
    if tiny_manifest is not None:
        known[TINY] = msgspec.structs.replace(known[TINY], models=_shipped(tiny_manifest))
    return known


class _Manifest(msgspec.Struct):
    files: dict[str, dict[str, str | int]]


def _shipped(manifest: Path) -> tuple[Model, ...]:
    try:
        listed = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).files
    except msgspec.DecodeError as error:
        raise ValueError(f"{manifest}: {error}") from error
    return tuple(
        Model(role=role, folder=folder, files=_files_below(f"{folder}/", listed))
        for role, folder in TINY_FOLDERS.items()
        if any(name.startswith(f"{folder}/") for name in listed)
    )


def _files_below(prefix: str, listed: dict[str, dict[str, str | int]]) -> tuple[File, ...]:
    return tuple(
        File(name=name.removeprefix(prefix), sha256=str(entry["sha256"]), size_bytes=int(entry["size_bytes"]))
        for name, entry in sorted(listed.items())
        if name.startswith(prefix)
    )
