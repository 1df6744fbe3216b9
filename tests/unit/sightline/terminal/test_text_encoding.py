"""Terminals and arguments that are not UTF-8, and readers that leave early: real processes, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.terminal.arguments import refusal

SIGHTLINE = str(Path(sys.executable).with_name("sightline"))


def typed(
    folder: Path, *arguments: str | bytes, read: str = "utf-8", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SIGHTLINE, *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "100"} | environment,
        capture_output=True,
        encoding=read,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "mark", "point"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "x ", "-"),
        ({"PYTHONIOENCODING": "latin-1"}, "x ", "·"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "x ", "-"),
        ({"LC_ALL": "C.UTF-8"}, "✗ ", "·"),
    ],
    ids=str,
)
def test_a_terminal_prints_what_it_can(tmp_path: Path, environment: dict[str, str], mark: str, point: str) -> None:
    read = "latin-1" if point != "·" or "latin" in str(environment) else "utf-8"
    refused = typed(tmp_path, "ingest", "Übersicht→.jpg", "--data", "data", read=read, **environment)
    assert refused.returncode in (1, 2)
    assert refused.stderr.startswith(mark), refused.stderr
    code = "import sys; sys.argv[1:] = []; from sightline.terminal import text_encoding as t; "
    code += "t.print_what_can_be_printed(); print('a \\u00b7 b')"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, encoding=read, check=True
    )
    assert shown.stdout == f"a {point} b\n"
    assert typed(tmp_path, "--help", read=read, **environment).returncode == 0


def test_names_that_are_not_utf8_are_printed_escaped(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    with open(os.fsencode(tmp_path / "shots") + b"/caf\xe9.jpg", "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(b"no picture")
    result = typed(tmp_path, "ingest", "shots", "--data", "data")
    assert "Traceback" not in result.stderr
    assert "caf\\xe9.jpg" in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["search", "ingest", "caption"])
def test_an_argument_that_is_not_utf8_is_refused_at_once(tmp_path: Path, command: str) -> None:
    result = typed(tmp_path, command, b"caf\xe9", "--data", "data")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "✗ an argument is not UTF-8: caf\\xe9\n"
    assert not (tmp_path / "data").exists()


def test_a_reader_that_leaves_early_ends_a_command_quietly(tmp_path: Path) -> None:
    assert typed(tmp_path, "topics", "create", "--data", "data").returncode == 0
    for command in ("models list", "config check", "topics describe --data data"):
        shell = f"exec 3>&1; ( {SIGHTLINE} {command} 2>&1 >&4 | cat >&3 ) 4>&1 >/dev/null | true"
        result = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in result.stdout + result.stderr
        assert "Broken" not in result.stdout + result.stderr, command


@pytest.mark.parametrize("word", ["-cartoon", "-red square", '-"red square"', "-mouse", "-label:circle", "-insect"])
def test_a_word_that_begins_with_a_minus_is_told_how_to_be_typed(word: str) -> None:
    reason = refusal(["search", word])
    assert reason is not None
    assert f"sightline search -- {word!r}" in reason


def test_options_are_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").touch()
    for arguments in (
        ["search", "circle", "-mtiny", "-cmy.toml"],
        ["search", "-m", "tiny", "-i", "x.jpg", "--not", "-x"],
        ["search", "--", "-cartoon"],
        ["search", "-h"],
        ["ingest", "-cartoon"],
    ):
        assert refusal(arguments) is None, arguments
