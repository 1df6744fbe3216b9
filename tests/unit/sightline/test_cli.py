"""`sightline` itself: its version, its help, and what shells ask it to complete."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from sightline.cli import COMMANDS, needed

SIGHTLINE = str(Path(sys.executable).with_name("sightline"))


def asked(*arguments: str, **environment: str) -> str:
    result = subprocess.run(
        [SIGHTLINE, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    return result.stdout


def test_the_version_is_printed_without_importing_a_command() -> None:
    assert asked("--version") == f"sightline {version('sightline')}\n"
    assert needed(["--version"]) == ()


def test_h_is_help_of_every_command() -> None:
    assert asked("models", "-h") == asked("models", "--help")
    assert "Usage: sightline models verify" in asked("models", "verify", "-h")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    assert "_SIGHTLINE_COMPLETE=complete_" in asked("--show-completion", shell)
    for line, expected in (
        ("sightline se", {"serve", "search"}),
        ("sightline models ver", {"verify"}),
        ("sightline search --si", {"--since"}),
    ):
        words = line.split()
        bash = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        others = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        shown = asked(_SIGHTLINE_COMPLETE=f"complete_{shell}", **(bash if shell == "bash" else others))
        assert all(word in shown for word in expected), shown


def test_completing_a_command_s_name_imports_no_command() -> None:
    environment = {"_SIGHTLINE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": "sightline "}
    environment["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    command = [sys.executable, "-X", "importtime", SIGHTLINE]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert {line.split("\t")[0] for line in result.stdout.splitlines()} >= set(COMMANDS)
    assert "demo\teverything at once, on the shipped clips" in result.stdout
    assert "sightline.terminal.root" in result.stderr
    assert "sightline.commands." not in result.stderr
