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
    "sightline/page/icon.svg": "icon.svg",
}
"""Files outside `docs/` that the navigation or the theme name."""
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
    """Write every page and file of the site below `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    docs = [path.relative_to(root) for path in sorted((root / DOCS).rglob("*")) if path.suffix in {".md", *_ASSETS}]
    waiting = [*map(PurePosixPath, docs), *map(PurePosixPath, PLACES)]
    done: set[PurePosixPath] = set()
    while waiting:
        file = waiting.pop()
        if file in done:
            continue
        done.add(file)
        destination = folder / place(file)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in _ASSETS:
            shutil.copyfile(root / file, destination)
        else:
            linked = _relinked(_shown(file, root), file, root)
            waiting += linked.files
            destination.write_text(linked.text, "utf-8")


def place(file: PurePosixPath) -> PurePosixPath:
    """Where a file of the repository stands on the site."""
    if str(file) in PLACES:
        return PurePosixPath(PLACES[str(file)])
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS)
    return PurePosixPath("source") / (file if file.suffix in {".md", *_ASSETS} else f"{file}.md")


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
        destination = PurePosixPath(os.path.normpath(file.parent / path))
        if (root / destination).is_file():
            files.append(destination)
            replacements[target] = f"{os.path.relpath(place(destination), place(file).parent)}{hash_sign}{anchor}"
        else:
            replacements[target] = None
    return Linked(replace_links(text, replacements), files)
