"""The documentation: generated pages agree with the code, links lead somewhere, examples work, the site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from deploy.docs import configuration, fields
from deploy.docs.links import broken_links
from deploy.docs.markdown import Occurrence, anchors, code_spans, links, replace_links
from deploy.docs.pages import DOCS, generated_pages
from deploy.docs.site import build, loaded_from_network
from deploy.docs.staging import PLACES
from sightline.config import Config, load
from sightline.wiring.stage_loader import checked_stages
from streams.kafka.settings import KafkaSettings
from streams.sqlite.transport import LogSettings

ROOT = Path(__file__).parents[2]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return generated_pages()


@pytest.mark.parametrize(
    "name", ["configuration.md", *(f"reference/{page}.md" for page in ("commands", "metrics", "topics", "schemas"))]
)
def test_generated_pages_agree_with_the_code(generated: dict[str, str], name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == generated[name], "run `make docs`"


def test_every_key_has_a_meaning_and_the_example_file_has_no_other_key() -> None:
    example = configuration.read_example()
    documented = {
        (*section.example_path, field.name): field.meaning
        for section in configuration.sections(example)
        for field in section.fields
    }
    assert [".".join(key) for key, meaning in documented.items() if not meaning] == []
    assert {path for path in leaves(example) if not within(path, set(documented))} == {
        ("stages", "brightness", "dark_below")
    }


@pytest.mark.parametrize("struct", [KafkaSettings, LogSettings])
def test_every_key_of_a_transport_has_a_meaning(struct: type[Struct]) -> None:
    assert [field.name for field in configuration.query_fields(struct) if not field.meaning] == []


def leaves(table: dict[str, object], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in table.items():
        found += leaves(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]
    return found


def within(path: tuple[str, ...], documented: set[tuple[str, ...]]) -> bool:
    return any(path[:length] in documented for length in range(1, len(path) + 1))


def test_the_example_file_is_a_configuration_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    checked_stages(load(configuration.EXAMPLE_FILE, environment={}))


def test_variables_are_given_as_the_page_says() -> None:
    name = re.search(r"### `worker\.batch_frames`.*?Variable: `(\w+)`", configuration.page(), re.DOTALL)
    assert name is not None
    assert load(None, {}, {name[1]: "32"}).worker.batch_frames == 32


def test_types_are_told_in_the_terms_of_toml() -> None:
    kinds = {field.name: fields.type_words(field.type) for field in fields.fields(Config)}
    assert kinds["tenant"] == "string"
    assert kinds["partitions"] == "integer ≥ 1"
    assert kinds["log_format"] == '"auto", "console" or "json"'
    assert kinds["segments"] == "array of arrays of strings"


def test_no_link_is_broken() -> None:
    assert broken_links() == []


def test_broken_links_anchors_and_paths_are_named(tmp_path: Path) -> None:
    page = "# One\n\n[a](two.md) [b](#one) [c](#two) [d](https://example.com)\n\n`streams/plan.py` `streams/NAME.py`\n"
    (tmp_path / "page.md").write_text(page + "\n```\n[e](three.md)\n```\n", "utf-8")
    assert [line.split(": ")[:2] for line in broken_links(tmp_path)] == [
        ["page.md:3", "two.md"],
        ["page.md:3", "#two"],
        ["page.md:5", "streams/plan.py"],
    ]


def test_links_and_code_of_a_page() -> None:
    text = "[a](b.md) and ![c](d.png) `[e](f.md)`\n```\n[g](h.md)\n```\n"
    assert links(text) == [Occurrence(1, "b.md"), Occurrence(1, "d.png")]
    assert code_spans(text) == [Occurrence(1, "[e](f.md)")]
    assert replace_links(text, {"b.md": "x.md", "d.png": None}).splitlines()[0] == "[a](x.md) and c `[e](f.md)`"


def test_anchors_that_differ_between_repository_and_site_cannot_be_linked() -> None:
    assert anchors("# The `a.b` key\n## Twice\n## Twice\n## One  two\n") == {"the-ab-key"}


def test_every_page_has_a_place_in_the_navigation() -> None:
    navigation = (DOCS / "nav.yml").read_text("utf-8")
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page.parent.name != "decisions"}
    pages |= {place for place in PLACES.values() if place.endswith(".md")}
    assert {page for page in pages if f" {page}\n" not in navigation} == set()


def test_the_page_about_stages_quotes_the_example_as_it_is() -> None:
    blocks = PYTHON_BLOCK.findall((DOCS / "stages.md").read_text("utf-8"))
    assert (ROOT / "examples" / "brightness.py").read_text("utf-8") in blocks


def test_the_first_change_in_contributing_works(tmp_path: Path) -> None:
    stage, test = PYTHON_BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    (tmp_path / "contrast.py").write_text(stage, "utf-8")
    (tmp_path / "test_contrast.py").write_text(test, "utf-8")
    (tmp_path / "conftest.py").write_text(f"from processors import stages\nstages.__path__.append({str(tmp_path)!r})\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "CI": ""})
    assert done.returncode == 0, done.stdout


def test_the_site_builds_offline_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    site = build(tmp_path)
    for page in ("index.html", "configuration.html", "reference/commands.html", "decisions/001-dependencies.html"):
        assert (site / page).is_file()


def test_what_a_page_would_load_is_found(tmp_path: Path) -> None:
    tags = '<script src="https://a/x.js"></script><link rel="stylesheet" href="//b/x.css"><a href="https://c/">c</a>'
    (tmp_path / "page.html").write_text(tags, "utf-8")
    (tmp_path / "style.css").write_text("@import 'https://d/x.css'; a { background: url(x.png) }", "utf-8")
    assert loaded_from_network(tmp_path) == [
        "page.html: https://a/x.js",
        "page.html: //b/x.css",
        "style.css: https://d/x.css",
    ]
