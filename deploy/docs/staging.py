"""Gathers the site's pages in one folder, with links that hold there.

Pages of `docs/` keep their paths, README becomes the start page. A linked file from elsewhere in the repository becomes
a page below `source/` that shows it, so that no link leads out of the site.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from deploy.docs.markdown import links, replace_links

ROOT = Path(__file__).parents[2]
DOCS = PurePosixPath("docs")
PLACES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "benchmarks.md",
    "tinyworld/README.md": "tinyworld.md",
}
"""Pages outside `docs/` that have a place in the navigation."""
ELSEWHERE = ("One event", "A stage of your own", "Cameras that come and go", "Counts and health", "Measured", "Layout")
"""README's sections that other pages of the site tell at length; the start page leaves them out."""
_ASSETS = {".png", ".svg", ".jpg", ".css"}
_LANGUAGES = {".py": "python", ".sh": "sh", ".toml": "toml", ".json": "json", ".yml": "yaml"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|#")


class Linked(NamedTuple):
    """A page whose links are rewritten, and the files of the repository that it leads to."""

    text: str
    files: list[PurePosixPath]


def stage(folder: Path, root: Path = ROOT) -> None:
    """Write every page and image of the site below `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = [path.relative_to(root) for path in sorted((root / DOCS).rglob("*.md"))]
    waiting = [PurePosixPath(path) for path in (*pages, *PLACES)]
    for asset in (path for path in (root / DOCS).rglob("*") if path.suffix in _ASSETS):
        _copy(asset, folder / asset.relative_to(root / DOCS))
    done: set[PurePosixPath] = set()
    while waiting:
        file = waiting.pop()
        if file not in done and file.suffix not in _ASSETS:
            done.add(file)
            linked = _relinked(_shown(file, root), file, root)
            waiting += linked.files
            _write(folder / place(file), linked.text)


def place(file: PurePosixPath) -> PurePosixPath:
    """Where a file of the repository stands on the site."""
    if str(file) in PLACES:
        return PurePosixPath(PLACES[str(file)])
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS)
    return PurePosixPath("source") / (file if file.suffix == ".md" else f"{file}.md")


def start_page(readme: str) -> str:
    """README without the sections that other pages tell. Raises ValueError where README has no such section."""
    for name in ELSEWHERE:
        section = re.compile(rf"^## {re.escape(name)}\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
        readme, times = section.subn("", readme)
        if times != 1:
            raise ValueError(f"README.md has no section {name!r}; correct ELSEWHERE in deploy/docs/staging.py")
    return readme


def _shown(file: PurePosixPath, root: Path) -> str:
    """A page as it is, anything else as a page that shows it."""
    text = (root / file).read_text("utf-8")
    if file.name == "README.md" and file.parent == PurePosixPath():
        return start_page(text)
    if file.suffix == ".md":
        return text
    return f"# `{file}`\n\n````{_LANGUAGES.get(file.suffix, '')}\n{text}````\n"


def _relinked(text: str, file: PurePosixPath, root: Path) -> Linked:
    replacements: dict[str, str | None] = {}
    files = []
    for target in {link.text for link in links(text) if not _SCHEME.match(link.text)}:
        path, hash_sign, anchor = target.partition("#")
        aim = PurePosixPath(os.path.normpath(file.parent / path))
        if (root / aim).is_file():
            files.append(aim)
            replacements[target] = f"{os.path.relpath(place(aim), place(file).parent)}{hash_sign}{anchor}"
        else:
            replacements[target] = None
    return Linked(replace_links(text, replacements), files)


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
