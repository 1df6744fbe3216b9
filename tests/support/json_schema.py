"""Checks a value against a JSON Schema, with the keywords that the published schemas use and no others."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Schema = Mapping[str, Any]
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
IGNORED = frozenset({"$schema", "$id", "$defs", "title", "description", "default"})
KEYWORDS = frozenset(
    {"$ref", "type", "enum", "const", "anyOf", "allOf", "properties", "required", "additionalProperties", "items"}
    | {"prefixItems", "minItems", "maxItems", "format", "contentEncoding"}
)


def mistakes(value: Any, schema: Schema, root: Schema, where: str = "value") -> Iterator[str]:
    """What of `value` the schema does not allow; `root` is where `$ref` begins. Raises for an unknown keyword."""
    assert not schema.keys() - KEYWORDS - IGNORED, schema.keys() - KEYWORDS - IGNORED
    if "$ref" in schema:
        yield from mistakes(value, _referenced(schema["$ref"], root), root, where)
    if "type" in schema and not _is_a(value, schema["type"]):
        yield f"{where} is {value!r}, not of type {schema['type']}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{where} is {value!r}"
    if "anyOf" in schema and all(any(mistakes(value, option, root)) for option in schema["anyOf"]):
        yield f"{where} is {value!r}, none of {schema['anyOf']}"
    for part in schema.get("allOf", ()):
        yield from mistakes(value, part, root, where)
    if isinstance(value, str):
        yield from _of_text(value, schema, where)
    if isinstance(value, list):
        yield from _of_array(value, schema, root, where)
    if isinstance(value, dict):
        yield from _of_object(value, schema, root, where)


def _referenced(reference: str, root: Schema) -> Schema:
    node: Any = root
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node  # type: ignore[no-any-return]


def _is_a(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and not (isinstance(value, bool) and name != "boolean")


def _of_text(value: str, schema: Schema, where: str) -> Iterator[str]:
    if schema.get("contentEncoding") == "base64":
        try:
            b64decode(value, validate=True)
        except NotBase64:
            yield f"{where} is not base64"
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield f"{where} is {value!r}, not a time"
        if not re.search(r"(Z|[+-]\d\d:\d\d)$", value):
            yield f"{where} is {value!r}, without a zone"


def _of_array(value: list[Any], schema: Schema, root: Schema, where: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{where} has {len(value)} entries"
    first = schema.get("prefixItems", ())
    for number, entry in enumerate(value):
        of_entry = first[number] if number < len(first) else schema.get("items", True)
        if isinstance(of_entry, Mapping):
            yield from mistakes(entry, of_entry, root, f"{where}[{number}]")


def _of_object(value: dict[str, Any], schema: Schema, root: Schema, where: str) -> Iterator[str]:
    yield from (f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value)
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, entry in value.items():
        of_entry = properties.get(name, others)
        if of_entry is False:
            yield f"{where}.{name} is not in the schema"
        elif isinstance(of_entry, Mapping):
            yield from mistakes(entry, of_entry, root, f"{where}.{name}")
