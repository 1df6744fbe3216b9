"""What a msgspec Struct says of itself: every field with its type, its default and the docstring below it."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as types


class Field(NamedTuple):
    """One field of a Struct. `default` is Python's value, `NODEFAULT` for a field that has to be given."""

    name: str
    type: Any
    default: Any
    meaning: str


def fields(struct: type[Struct]) -> list[Field]:
    """The fields of `struct` in order; `type` keeps its `Annotated` limits."""
    hints, meanings = get_type_hints(struct, include_extras=True), docstrings(struct)
    return [
        Field(entry.encode_name, hints[entry.name], _default(entry), meanings.get(entry.name, ""))
        for entry in msgspec.structs.fields(struct)
    ]


def docstrings(struct: type) -> dict[str, str]:
    """Field name → the string that stands below the field, read from the source; base classes included."""
    texts: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        if kind.__module__ != "builtins" and issubclass(kind, Struct) and kind is not Struct:
            texts |= dict(_attribute_strings(kind))
    return texts


def nested_struct(kind: Any) -> type[Struct] | None:
    """The Struct that a field of type `kind` holds: itself, or as the values of a table; None for plain values."""
    info = types.type_info(kind)
    info = info.value_type if isinstance(info, types.DictType) else info
    return info.cls if isinstance(info, types.StructType) else None


def is_table_of_names(kind: Any) -> bool:
    """Whether a field is a table whose keys a person chooses (`[apis.NAME]`)."""
    return isinstance(types.type_info(kind), types.DictType)


def type_words(kind: Any) -> str:
    """A type in TOML's terms: `integer ≥ 1`, `array of strings`, `"fp16"` or `"fp32"`."""
    return _words(types.type_info(kind))


def literal(value: Any) -> str:
    """A value as TOML and JSON write it; bytes are base64."""
    if isinstance(value, (Struct, bytes)):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {literal(entry)}" for key, entry in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    return json.dumps(value, ensure_ascii=False)


def size_words(size_bytes: int) -> str:
    """A number of bytes in the unit that people read: `64 MiB`."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes >= 1 << power and size_bytes % (1 << power) == 0:
            return f"{size_bytes >> power} {unit}"
    return f"{size_bytes:,} bytes"


def _attribute_strings(struct: type) -> Iterator[tuple[str, str]]:
    definition = next(node for node in ast.walk(_parsed(struct)) if isinstance(node, ast.ClassDef))
    for statement, below in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            yield statement.target.id, inspect.cleandoc(below.value.value)


def _parsed(struct: type) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(struct)))


def _default(entry: msgspec.structs.FieldInfo) -> Any:
    return entry.default if entry.default_factory is NODEFAULT else entry.default_factory()


def _words(info: types.Type) -> str:
    match info:
        case types.IntType():
            return _limited("integer", info)
        case types.FloatType():
            return _limited("number", info)
        case types.StrType():
            return "string"
        case types.BoolType():
            return "boolean"
        case types.DateTimeType():
            return "time (RFC 3339)"
        case types.BytesType():
            return "bytes"
        case types.AnyType():
            return "any value"
        case types.NoneType():
            return "null"
        case types.LiteralType():
            return _either([literal(value) for value in info.values])
        case types.UnionType():
            return _either([_words(part) for part in info.types if not isinstance(part, types.NoneType)])
        case types.VarTupleType() | types.ListType():
            return f"array of {_plural(_words(info.item_type))}"
        case types.TupleType():
            return f"array of {len(info.item_types)} {_plural(_words(info.item_types[0]))}"
        case types.DictType():
            return f"table of {_plural(_words(info.value_type))}"
        case types.StructType():
            return info.cls.__name__
        case _:
            raise TypeError(f"{info!r}: deploy/docs/fields.py has no words for this type yet")


def _limited(word: str, info: types.IntType | types.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f"{word} from {_number(info.ge)} to {_number(info.le)}"
    lower = [f"≥ {_number(info.ge)}"] if info.ge is not None else []
    lower += [f"> {_number(info.gt)}"] if info.gt is not None else []
    upper = [f"≤ {_number(info.le)}"] if info.le is not None else []
    upper += [f"< {_number(info.lt)}"] if info.lt is not None else []
    return " ".join([word, " and ".join(lower + upper)]).strip()


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _either(words: Sequence[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def _plural(words: str) -> str:
    first, *rest = words.removeprefix("any ").split(" ")
    plural = f"{first}s" if first.islower() and not first.endswith("s") else first
    return " ".join([plural, *rest])
