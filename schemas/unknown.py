"""Fields of newer writers: found when a record is read, put back when it is written again.

What `unknown_fields` returns is a tree beside the event: at a struct, an unknown name maps to its value as it came,
a known name to what was unknown below it. Below a list it is a list of triples: the element's place, its required
fields, and what was unknown in it. A stage may add elements, drop some or fill in a field with a default (the
tracker does): each element that is still there gets its own back, and a new one never gets another's.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

Tree = dict[str, Any]


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[frozenset[str], frozenset[str], dict[str, type[msgspec.Struct]]]:
    """All names, the required ones, and the struct type below a name (directly or in a tuple)."""
    fields = msgspec.structs.fields(struct)
    hints = get_type_hints(struct)
    below = {f.encode_name: found for f in fields if (found := _struct_in(hints[f.name])) is not None}
    return frozenset(f.encode_name for f in fields), frozenset(f.encode_name for f in fields if f.required), below


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    if get_origin(hint) in (tuple, Union, UnionType):
        return next((found for arg in get_args(hint) if (found := _struct_in(arg)) is not None), None)
    return None


def unknown_fields(raw: Mapping[str, Any], struct: type[msgspec.Struct]) -> Tree:
    """What `raw` (a decoded mapping that `struct` accepts) holds beyond `struct`'s fields; mostly empty."""
    names, _, below = _fields(struct)
    tree: Tree = {} if raw.keys() <= names else {name: raw[name] for name in raw.keys() - names}
    for name, inner in below.items():
        if value := raw.get(name):
            found = unknown_fields(value, inner) if type(value) is dict else _unknown_in_list(value, inner)
            if found:
                tree[name] = found
    return tree


def _unknown_in_list(values: Sequence[Mapping[str, Any]], struct: type[msgspec.Struct]) -> list[list[Any]]:
    _, required, _ = _fields(struct)
    found = ((place, value, unknown_fields(value, struct)) for place, value in enumerate(values))
    return [[place, {name: value[name] for name in required}, tree] for place, value, tree in found if tree]


def put_back(plain: MutableMapping[str, Any], tree: Mapping[str, Any], struct: type[msgspec.Struct]) -> None:
    """Add `tree` to `plain`, the event as plain dicts and lists, in place. What is known always wins."""
    names, _, below = _fields(struct)
    for name, found in tree.items():
        if name not in names:
            plain[name] = found
        elif name in below and isinstance(inner := plain.get(name), dict):
            put_back(inner, found, below[name])
        elif name in below and inner:
            _put_back_in_list(inner, found, below[name])


def _put_back_in_list(values: Sequence[dict[str, Any]], found: list[list[Any]], struct: type[msgspec.Struct]) -> None:
    free = set(range(len(values)))
    for place, required, tree in found:
        candidates = (place, *sorted(free)) if place in free else sorted(free)
        match = next((at for at in candidates if _same(values[at], required)), None)
        if match is not None:
            free.remove(match)
            put_back(values[match], tree, struct)


def _same(value: Mapping[str, Any], required: Mapping[str, Any]) -> bool:
    """Lists and tuples are the same thing on the wire."""
    return all(_listed(value.get(name)) == _listed(before) for name, before in required.items())


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
