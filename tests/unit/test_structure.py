"""The limits that keep the code readable: sizes, folders, words, and citations of files that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("schemas", "processors", "stores", "streams", "search", "sightline")
CODE = (*PRODUCT, "tinyworld", "examples", "bench", "deploy", "tests")
ROOT_MODULES = {"streams": 12, "sightline": 6}
MODULE_LINES = 350
FUNCTION_LINES = 7
CONSTRUCTOR_PARAMETERS = 7

TEXTS = frozenset({".py", ".pyi", ".pyx", ".pxi", ".md", ".toml", ".yml", ".js", ".html", ".css", ".svg"})
WORDS = re.compile(
    r"\b(?:whoever|nobody|anew|so many|for ever|in peace|culprits?|convict\w*|befalls?|befallen|strewn"
    r"|mend(?:s|ed|ing)?|spoilt|now and then"
    r"|behaviours?|\w*colour\w*|cent(?:red?|res)|neighbour\w*|\w*(?:normal|optim|initial|recogn)is(?:e|es|ed|ing|ation)"
    r"|favour\w*|labelled|labelling|travelled|licences?|catalogues?|artefacts?)\b",
    re.IGNORECASE,
)
"""Words that a reader has to translate back, and British spellings."""
ALLOWED = {
    "tests/support/events.py": frozenset({"colour"}),
    "tests/unit/schemas/test_points.py": frozenset({"colour"}),
    "tinyworld/corpus.py": frozenset({"colours"}),
    "tinyworld/dense_heads.py": frozenset({"colour"}),
    "tinyworld/pretrain_tower.py": frozenset({"colour"}),
}
"""By file, the words that are right there, in lower case: keys of the corpus' events, and of files of weights."""

OWN_PATH = re.compile(
    rf"\b(?:{'|'.join((*CODE, 'docs', 'k8s'))})/[\w./-]*\.(?:py|pyx|pxi|md|toml|yml|json|svg|png|jpg)\b"
)
PLACEHOLDER = re.compile(r"NAME|STAGE|results/")
"""Names that a reader fills in, and what programs write."""
ABSENT = re.compile(r"\b(?:DESIGN|FACTS|STYLE|WORDS)(?:\.md|['’]s)|\bsee DESIGN\b")
"""Documents that are not part of the repository."""
SELF = "tests/unit/test_structure.py"


@cache
def modules() -> list[tuple[str, str]]:
    """Path and text of every module of the product."""
    return [(path, text) for path, text in texts() if path.endswith(".py") and path.startswith(PRODUCT)]


@cache
def texts() -> list[tuple[str, str]]:
    """Path below the root and text of everything that people read: code, documents, configuration, the page."""
    folders = [ROOT / name for name in (*CODE, "docs", "k8s") if (ROOT / name).is_dir()]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in TEXTS]
    paths += [path for path in ROOT.iterdir() if path.suffix in TEXTS or path.name == "Makefile"]
    return [(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in sorted(paths)]


@cache
def functions(folder: str) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path, node)
        for path, text in modules()
        if path.startswith(f"{folder}/")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def occurrences(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each match."""
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group()


def report(lines: list[str]) -> str:
    return "\n" + "\n".join(lines)


@pytest.mark.parametrize("folder", ROOT_MODULES)
def test_a_root_holds_few_modules(folder: str) -> None:
    names = sorted(path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py")
    assert len(names) <= ROOT_MODULES[folder], names


def test_modules_are_short() -> None:
    lengths = {path: len(text.splitlines()) for path, text in modules()}
    over = [
        f"{path}:1: {count} lines, {MODULE_LINES} are allowed"
        for path, count in lengths.items()
        if count > MODULE_LINES
    ]
    assert not over, report(over)


@pytest.mark.parametrize("folder", PRODUCT)
def test_functions_are_short(folder: str) -> None:
    """The median of their lengths, from `def` to the last line."""
    by_length = sorted(
        (node.lineno - (node.end_lineno or 0) - 1, f"{path}:{node.lineno}: {node.name}")
        for path, node in functions(folder)
    )
    longest = [f"{name}: {-length} lines" for length, name in by_length[:10]]
    assert -median(length for length, _ in by_length) <= FUNCTION_LINES, report(longest)


def test_constructors_take_few_parameters() -> None:
    over = []
    for folder in PRODUCT:
        for path, node in functions(folder):
            count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) - 1
            if node.name == "__init__" and count > CONSTRUCTOR_PARAMETERS:
                over.append(f"{path}:{node.lineno}: {count} parameters, {CONSTRUCTOR_PARAMETERS} are allowed")
    assert not over, report(over)


def test_package_files_are_empty() -> None:
    assert not [path for path, text in texts() if path.endswith("__init__.py") and text]


def test_words_are_plain() -> None:
    found = [
        f"{path}:{line}: {word}"
        for path, text in texts()
        for line, word in occurrences(WORDS, text)
        if path != SELF and word.lower() not in ALLOWED.get(path, ())
    ]
    assert not found, report(found)


def test_cited_files_exist() -> None:
    """Links and paths in Markdown pages are checked by `deploy/docs/links.py`."""
    missing = [
        f"{path}:{line}: {cited}: no such file"
        for path, text in texts()
        if not path.endswith(".md")
        for line, cited in occurrences(OWN_PATH, text)
        if not PLACEHOLDER.search(cited) and not (ROOT / cited).exists()
    ]
    absent = [
        f"{path}:{line}: {cited}: no such document"
        for path, text in texts()
        for line, cited in occurrences(ABSENT, text)
        if path != SELF
    ]
    assert not missing + absent, report(missing + absent)
