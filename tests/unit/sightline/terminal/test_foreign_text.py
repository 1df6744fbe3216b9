"""What others wrote never steers a terminal, whatever prints it."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.terminal.console import SafeConsole, quoted
from sightline.terminal.foreign_text import visible, visible_json, visible_lines
from sightline.terminal.logs import VisibleFormatter
from sightline.terminal.render import new_table

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("esc\x1b[31mred\x1b[0m.jpg", r"esc\x1b[31mred\x1b[0m.jpg"),
        ("new\nline\t.jpg", r"new\nline\t.jpg"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("c1\x9b31m", r"c1\x9b31m"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("a\u2028b\u2066c\ufeffd", r"a\u2028b\u2066c\ufeffd"),
        ("\U000e0041", r"\U000e0041"),
        ("日本 🐈\u200d⬛ می\u200cخواهم हिन्दी é", "日本 🐈\u200d⬛ می\u200cخواهم हिन्दी é"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(name: str, shown: str) -> None:
    assert visible(name) == shown


@given(ANY_TEXT)
def test_visible_text_is_one_line_of_characters_that_show_and_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert all(character.isprintable() or ord(character) >= 0xA0 for character in shown)
    assert visible(shown) == shown == shown.encode().decode()
    assert visible_lines(text).replace("\n", r"\n").replace("\t", r"\t") == shown


@given(ANY_TEXT)
def test_visible_json_means_the_same(text: str) -> None:
    written = visible_json(json.dumps({"name": text}, ensure_ascii=False))
    assert json.loads(written) == {"name": text}
    assert visible_lines(written) == written


@given(ANY_TEXT)
def test_every_print_is_safe(text: str) -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, width=400, emoji=False, highlight=False)
    table = new_table(("name",))
    table.add_row(quoted(text))
    console.print(text, markup=False)
    console.print(f"[bold]{quoted(text)}[/]")
    console.print(table)
    printed = file.getvalue()
    assert visible_lines(printed) == printed


def test_smileys_and_markup_in_names_stay_as_they_are() -> None:
    file = io.StringIO()
    SafeConsole(file=file, width=400, emoji=False).print(quoted("[bold]x[1]:smile:\\.jpg"))
    assert file.getvalue() == "[bold]x[1]:smile:\\.jpg\n"


def test_lines_of_other_loggers_are_safe() -> None:
    record = logging.LogRecord("aiokafka", logging.WARNING, "", 1, "topic %s", ("a\x1b[2Jb",), None)
    assert VisibleFormatter("%(message)s").format(record) == r"topic a\x1b[2Jb"
