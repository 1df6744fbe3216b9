"""Finds the files of a folder or of a glob, and counts what it leaves out. A folder that cannot be read is refused."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from streams.sources.exclusion import Exclusion
from streams.sources.source import Refusal

Names: TypeAlias = tuple[str, ...]
"""A path below the source."""
_ANY_DEPTH = "**"


@dataclass(slots=True)
class FileSearch:
    """One search: the files that it found, and the folders that cannot be read."""

    exclusion: Exclusion
    paths: list[Path] = field(default_factory=list, init=False)
    refusals: list[Refusal] = field(default_factory=list, init=False)
    _left_out: dict[str, int] = field(default_factory=dict, init=False)

    @property
    def left_out(self) -> int:
        """Files that are hidden or excluded, those of excluded folders too, and links to folders."""
        return sum(self._left_out.values())

    def below(self, folder: Path) -> None:
        """All files below `folder`, without hidden ones; links to folders are not followed."""
        self.paths = sorted(path for path, _ in self._files_below(folder, ()))

    def matching(self, pattern: str) -> None:
        """Files that match a pattern; `**` stands for any depth. Hidden files match where the pattern names the dot."""
        anchor, *parts = Path(pattern).parts if os.path.isabs(pattern) else (".", *Path(pattern).parts)  # noqa: PTH117
        found = set(self._matches(Path(anchor), parts, ()))
        self.paths = sorted(path for path in found if not _is_folder(path))

    def _files_below(self, folder: Path, below: Names) -> Generator[tuple[Path, Names], None, None]:
        for entry in self._entries(folder):
            names = (*below, entry.name)
            if entry.name.startswith(".") or self.exclusion.excludes(names):
                self._leave_out(entry)
            elif not _is_folder(entry):
                yield Path(entry.path), names
            elif entry.is_symlink():
                self._leave_out(entry)
            else:
                yield from self._files_below(Path(entry.path), names)

    def _matches(self, folder: Path, parts: Sequence[str], below: Names) -> Generator[Path, None, None]:
        """`below` are the names since the first wildcard."""
        if not parts:
            yield folder
            return
        part, *rest = parts
        if part == _ANY_DEPTH:
            yield from self._any_depth(folder, rest, below)
        elif not any(character in part for character in "*?["):
            if self._exists(folder / part):
                yield from self._matches(folder / part, rest, (*below, part) if below else ())
        else:
            for entry in self._entries(folder):
                names = (*below, entry.name)
                if not fnmatchcase(entry.name, part):
                    continue
                if self.exclusion.excludes(names):
                    self._leave_out(entry)
                elif part.startswith(".") or not entry.name.startswith("."):
                    yield from self._matched(entry, rest, names)

    def _matched(self, entry: os.DirEntry[str], rest: Sequence[str], names: Names) -> Generator[Path, None, None]:
        if not rest:
            yield Path(entry.path)
        elif _is_folder(entry):
            yield from self._matches(Path(entry.path), rest, names)

    def _any_depth(self, folder: Path, rest: Sequence[str], below: Names) -> Generator[Path, None, None]:
        if not rest:
            yield from (path for path, _ in self._files_below(folder, below))
            return
        yield from self._matches(folder, rest, below)
        for entry in self._entries(folder):
            names = (*below, entry.name)
            if not _is_folder(entry) or entry.is_symlink():
                continue
            if self.exclusion.excludes(names):
                self._leave_out(entry)
            elif not entry.name.startswith("."):
                yield from self._any_depth(Path(entry.path), rest, names)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._refuse(folder, error)
            return []

    def _exists(self, path: Path) -> bool:
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            self._refuse(path, error)
            return False
        return True

    def _leave_out(self, entry: os.DirEntry[str]) -> None:
        self._left_out[entry.path] = _files_in(entry)

    def _refuse(self, path: Path, error: OSError) -> None:
        message = f"{path}: {error.strerror or error}; nothing in it is read"
        if all(refusal.name != str(path) for refusal in self.refusals):
            self.refusals.append(Refusal(str(path), "unreadable", message))


def _is_folder(entry: os.DirEntry[str] | Path) -> bool:
    """Also a link to one. What cannot be examined counts as a file: reading it says why."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _files_in(entry: os.DirEntry[str]) -> int:
    """The number of files in a folder; 1 for a file."""
    if not _is_folder(entry) or entry.is_symlink():
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))
