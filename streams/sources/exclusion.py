"""Which files of a folder, glob or prefix are left out: thumbnails, trash and notes that other programs keep there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

DEFAULTS = (
    "@eaDir",  # Synology
    "@tmp",
    "#recycle",
    "#snapshot",
    "@Recycle",  # QNAP
    ".@__thumb",
    "$RECYCLE.BIN",  # Windows
    "System Volume Information",
    "Thumbs.db",
    "desktop.ini",
    ".Trash",  # desktops and macOS
    ".Trash-*",
    ".Trashes",
    ".thumbnails",
    "__MACOSX",
    "._*",
    ".DS_Store",
)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Patterns as a shell has them, in addition to the defaults.

    A pattern with a slash is compared with the path below the source, any other with each file's and folder's name. An
    excluded folder is left out with all that it contains; what a person gives by itself is never excluded.
    """

    patterns: tuple[str, ...] = ()

    def excludes(self, below: Sequence[str]) -> bool:
        """Whether the file or folder with these names, from the source down, is left out; its folders are not."""
        path = "/".join(below)
        patterns = (pattern.rstrip("/") for pattern in (*DEFAULTS, *self.patterns))
        return any(
            fnmatchcase(path if "/" in pattern else below[-1], pattern.removeprefix("/")) for pattern in patterns
        )

    def excludes_any(self, below: Sequence[str]) -> bool:
        """As `excludes`, or one of its folders is."""
        return any(self.excludes(below[: depth + 1]) for depth in range(len(below)))
