"""Checks links offline: `python -m deploy.docs.links` names every link, anchor and path that leads nowhere.

Checked are all Markdown pages of the repository: relative links and images, anchors of headings, and paths of our own
files in code spans (`streams/plan.py`), which go stale when a file moves. Addresses on the network are not tried.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from deploy.docs.markdown import Occurrence, anchors, code_spans, links

ROOT = Path(__file__).parents[2]
_NOT_OURS = {"build", "dist", "node_modules"}
_FOLDERS = "schemas|processors|stores|streams|search|sightline|tinyworld|examples|bench|deploy|docs|k8s|tests"
_OWN_PATH = re.compile(rf"(?:{_FOLDERS})/[\w./-]*[\w/]")
_PLACEHOLDER = re.compile(r"NAME|STAGE|results/")
"""Names that a reader fills in, and what programs write."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")


def pages(root: Path = ROOT) -> list[Path]:
    """Every Markdown page of the repository."""
    visible = [entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.name not in _NOT_OURS]
    nested = [page for folder in visible if folder.is_dir() for page in folder.rglob("*.md")]
    return sorted([entry for entry in visible if entry.suffix == ".md"] + nested)


def broken_links(root: Path = ROOT) -> list[str]:
    """One line for each link, anchor and path that leads nowhere."""
    return [
        f"{page.relative_to(root)}:{occurrence.line}: {occurrence.text}: {reason}"
        for page in pages(root)
        for occurrence, reason in _broken_in(page, root)
    ]


def _broken_in(page: Path, root: Path) -> Iterator[tuple[Occurrence, str]]:
    text = page.read_text("utf-8")
    for link in links(text):
        if not _SCHEME.match(link.text) and (reason := _reason(page, link.text, root)):
            yield link, reason
    for span in code_spans(text):
        is_path = _OWN_PATH.fullmatch(span.text) and not _PLACEHOLDER.search(span.text)
        if is_path and not (root / span.text).exists():
            yield span, "no such file"


def _reason(page: Path, target: str, root: Path) -> str:
    """Why `target` leads nowhere from `page`; empty if it leads somewhere."""
    path, _, anchor = target.partition("#")
    destination = (page.parent / path).resolve() if path else page
    if not destination.is_relative_to(root.resolve()) or not destination.exists():
        return "no such file"
    if anchor and (destination.suffix != ".md" or anchor not in _anchors(destination)):
        return "no such heading, or one whose anchor differs between the repository and the site"
    return ""


@cache
def _anchors(page: Path) -> set[str]:
    return anchors(page.read_text("utf-8"))


def main() -> None:
    errors = broken_links()
    for line in errors:
        print(line, file=sys.stderr)
    print(f"{len(pages())} pages checked, {len(errors)} broken links")
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
