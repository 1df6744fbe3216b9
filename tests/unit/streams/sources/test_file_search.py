"""Folders and globs: what cannot be read is refused by name, what is left out is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.sources.exclusion import Exclusion
from streams.sources.file_search import FileSearch
from streams.sources.images import from_folder
from streams.sources.source import LeftOut, UnreadableSource
from tests.contract.source_suite import offers_of


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def below(folder: Path, *patterns: str) -> FileSearch:
    search = FileSearch(Exclusion(patterns))
    search.below(folder)
    return search


def matching(pattern: str, *patterns: str) -> FileSearch:
    search = FileSearch(Exclusion(patterns))
    search.matching(pattern)
    return search


def names(search: FileSearch, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in search.paths]


OTHER_PROGRAMS = (
    *("@eaDir/a.jpg/thumb.jpg", "#recycle/b.jpg", ".Trash/c.jpg", "__MACOSX/._a.jpg", ".Trash-1000/files/d.jpg"),
    *("$RECYCLE.BIN/e.jpg", ".thumbnails/f.jpg", "2026/@eaDir/g.jpg", "2026/._h.jpg", "Thumbs.db"),
)


@pytest.mark.parametrize("kind", ["folder", "glob"])
def test_files_that_other_programs_keep_beside_pictures_are_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    files(tmp_path, "a.jpg", "2026/h.jpg", *OTHER_PROGRAMS)
    search = below(tmp_path) if kind == "folder" else matching(f"{tmp_path}/**/*")
    assert names(search, tmp_path) == ["2026/h.jpg", "a.jpg"]
    assert search.left_out == len(OTHER_PROGRAMS)
    assert search.refusals == []


def test_what_is_given_by_itself_is_not_excluded(tmp_path: Path) -> None:
    folder = files(tmp_path / "#recycle" / "@eaDir", "a.jpg")
    assert names(below(folder), folder) == names(matching(f"{folder}/*.jpg"), folder) == ["a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.png", ["a.jpg", "raw/2025/c.jpg", "raw/b.jpg"]),
        ("raw", ["a.jpg", "a.png"]),
        ("raw/", ["a.jpg", "a.png"]),
        ("raw/*/*.jpg", ["a.jpg", "a.png", "raw/b.jpg"]),
        ("/a.*", ["raw/2025/c.jpg", "raw/b.jpg"]),
    ],
)
def test_patterns_name_files_folders_or_paths_below_the_source(tmp_path: Path, pattern: str, left: list[str]) -> None:
    folder = files(tmp_path, "a.jpg", "a.png", "raw/b.jpg", "raw/2025/c.jpg")
    assert names(below(folder, pattern), folder) == left
    assert names(matching(f"{folder}/**", pattern), folder) == left
    assert below(folder, pattern).left_out == 4 - len(left)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["[1].jpg", "a.jpg"]),
        ("**/*.jpg", ["[1].jpg", "a.jpg", "b/c.jpg", "b/d/e.jpg"]),
        ("b/**/e.jpg", ["b/d/e.jpg"]),
        ("*/c.jpg", ["b/c.jpg"]),
        ("*/*/[a-f].*", ["b/d/e.jpg"]),
        ("**/d/*", ["b/d/e.jpg"]),
        ("b/../?.jpg", ["a.jpg"]),
        ("no/*.jpg", []),
        ("a.jpg/*", []),
        (".*/*", [".h/i.jpg"]),
    ],
)
def test_globs_mean_what_a_shell_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str]
) -> None:
    files(tmp_path, "a.jpg", "[1].jpg", "b/c.jpg", "b/d/e.jpg", ".h/i.jpg")
    monkeypatch.chdir(tmp_path)
    for search in (matching(pattern), matching(f"{tmp_path}/{pattern}")):
        assert [os.path.relpath(path) for path in search.paths] == found
        assert search.refusals == []


def test_links_to_folders_are_not_followed_and_end_in_no_circle(tmp_path: Path) -> None:
    files(tmp_path, "a/b.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    for search in (below(tmp_path), matching(f"{tmp_path}/**")):
        assert (names(search, tmp_path), search.left_out) == (["a/b.jpg"], 1)
    assert names(matching(f"{tmp_path}/**/*.jpg"), tmp_path) == ["a/b.jpg"]


async def test_a_folder_of_which_everything_is_left_out_says_so(tmp_path: Path) -> None:
    assert await offers_of(from_folder(files(tmp_path, "@eaDir/a.jpg"))) == [LeftOut(1)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableSource, match="no files"):
        from_folder(tmp_path / "empty")
