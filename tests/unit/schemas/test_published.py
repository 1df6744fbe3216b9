"""The published contracts are the code's, and neither end of a topic breaks when the other is newer or older."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import codec, generate
from tests.support.events import dead_letter, full_event, observed, raw_event

CORPUS = Path(__file__).parent / "corpus"
READERS: dict[str, Callable[[bytes, dict[str, bytes]], Any]] = {
    "frame": codec.decode_frame,
    "dead": codec.decode_dead,
    "observed": codec.decode_observed,
}
Schema = dict[str, Any]
GREW = {"ImageRef": {"format"}}
"""Lists of values that grew. An old worker refuses such a record as undecodable, as it refused the picture itself."""
NEVER_WRITTEN = {"": {"attempts"}}
"""Fields of old schemas that no version ever wrote: `DeadLetter.attempts`, always its default, which is omitted."""


def test_published_files_are_what_the_code_says() -> None:
    for name, content in generate.files().items():
        published = (generate.FOLDER / name).read_text(encoding="utf-8")
        assert published == content, f"{name} is out of date: run `python -m schemas.generate` and note the change"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("v1/*.*pack")) + sorted(CORPUS.glob("v1/*.event.json")), ids=str)
def test_older_records_are_still_read(path: Path) -> None:
    event = READERS[path.name.partition("-")[0]](path.read_bytes(), {})
    expected = {
        "frame-raw.msgpack": raw_event(),
        "frame-full.msgpack": full_event(),
        "dead-full.msgpack": dead_letter(),
        "observed-full.event.json": observed(),
    }
    if path.name in expected:
        assert getattr(event, "event", event) == expected[path.name]


def test_the_corpus_is_there() -> None:
    assert len(list(CORPUS.glob("v1/*.msgpack"))) >= 3
    assert len(list(CORPUS.glob("v1/*.event.json"))) >= 2


def breaks_old_readers(old: Schema, new: Schema) -> list[str]:
    """What a reader made from `old` could no longer read when a writer made from `new` writes."""
    faults = []
    definitions = {"": (old, new)} | {
        name: (definition, new["$defs"].get(name, {})) for name, definition in old["$defs"].items()
    }
    for name, (before, after) in definitions.items():
        for field, schema in before.get("properties", {}).items():
            now = after.get("properties", {}).get(field)
            if field in GREW.get(name, ()) and set(now["enum"]) > set(schema["enum"]):
                continue
            if now != schema and field not in NEVER_WRITTEN.get(name, ()):
                faults.append(f"{name}.{field} changed or went")
        faults += [
            f"{name}.{f} is no longer always there"
            for f in set(before.get("required", ())) - set(after.get("required", ()))
        ]
        faults += [
            f"{name}.{f} is missing in old records"
            for f in set(after.get("required", ())) - set(before.get("required", ()))
        ]
    return faults


@pytest.mark.parametrize("name", list(generate.EVENTS))
def test_old_readers_read_what_is_written_now(name: str) -> None:
    old = json.loads((CORPUS / "v1" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert breaks_old_readers(old, generate.json_schema(name)) == []


def test_a_breaking_change_would_be_found() -> None:
    old = generate.json_schema("frame")

    def edited() -> Schema:
        copy: Schema = json.loads(json.dumps(old))
        return copy

    renamed, retyped, newly_required, newly_optional, grown = (edited() for _ in range(5))
    renamed["properties"]["camera"] = renamed["properties"].pop("feed")
    retyped["$defs"]["Detection"]["properties"]["confidence"] = {"type": "string"}
    newly_required["required"].append("captured")
    newly_optional["required"].remove("image")
    grown["properties"]["weather"] = {"type": "string", "default": ""}
    assert all(breaks_old_readers(old, new) for new in (renamed, retyped, newly_required, newly_optional))
    assert breaks_old_readers(old, grown) == []


def test_the_asyncapi_document_names_every_topic_and_its_references_lead_somewhere() -> None:
    document = generate.asyncapi()
    text = json.dumps(document)
    for part in [piece.split('"')[0] for piece in text.split('"$ref": "')[1:]]:
        if part.startswith("./"):
            assert (generate.FOLDER / part).is_file()
            continue
        node: Any = document
        for step in part.removeprefix("#/").split("/"):
            node = node[step]
    assert {"frames_raw", "frames_enriched", "frames_dead", "frames_observed", "deletions"} <= set(document["channels"])
