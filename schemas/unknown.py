"""Fields of newer writers: kept when a record is decoded, restored when it is encoded again.

`unknown_fields` returns a tree beside the event. At a struct, an unknown name maps to its original value, and a known
name to the unknown fields below it. At a list the tree is a list of triples: the element's index, its required fields,
and its unknown fields. A stage may add elements, drop some or fill in a field with a default (the tracker does): each
remaining element gets its own unknown fields back, and a new element gets none.
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
    below = {f.encode_name: inner for f in fields if (inner := _struct_in(hints[f.name])) is not None}
    return frozenset(f.encode_name for f in fields), frozenset(f.encode_name for f in fields if f.required), below


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    if get_origin(hint) in (tuple, Union, UnionType):
        return next((inner for arg in get_args(hint) if (inner := _struct_in(arg)) is not None), None)
    return None


def unknown_fields(raw: Mapping[str, Any], struct: type[msgspec.Struct]) -> Tree:
    """The fields of `raw`, a decoded mapping that `struct` accepts, that `struct` does not have; mostly empty."""
    names, _, below = _fields(struct)
    tree: Tree = {} if raw.keys() <= names else {name: raw[name] for name in raw.keys() - names}
    for name, inner in below.items():
        if value := raw.get(name):
            unknown = unknown_fields(value, inner) if type(value) is dict else _unknown_in_list(value, inner)
            if unknown:
                tree[name] = unknown
    return tree


def _unknown_in_list(values: Sequence[Mapping[str, Any]], struct: type[msgspec.Struct]) -> list[list[Any]]:
    _, required, _ = _fields(struct)
    trees = ((index, value, unknown_fields(value, struct)) for index, value in enumerate(values))
    return [[index, {name: value[name] for name in required}, tree] for index, value, tree in trees if tree]


def restore_unknown(plain: MutableMapping[str, Any], tree: Mapping[str, Any], struct: type[msgspec.Struct]) -> None:
    """Add `tree` to `plain`, the event as plain dicts and lists, in place. Known fields are never replaced."""
    names, _, below = _fields(struct)
    for name, unknown in tree.items():
        if name not in names:
            plain[name] = unknown
        elif name in below and isinstance(inner := plain.get(name), dict):
            restore_unknown(inner, unknown, below[name])
        elif name in below and inner:
            _restore_in_list(inner, unknown, below[name])


def _restore_in_list(values: Sequence[dict[str, Any]], unknown: list[list[Any]], struct: type[msgspec.Struct]) -> None:
    free = set(range(len(values)))
    for index, required, tree in unknown:
        candidates = (index, *sorted(free)) if index in free else sorted(free)
        match = next((candidate for candidate in candidates if _same(values[candidate], required)), None)
        if match is not None:
            free.remove(match)
            restore_unknown(values[match], tree, struct)


def _same(value: Mapping[str, Any], required: Mapping[str, Any]) -> bool:
    """Lists and tuples are equal on the wire."""
    return all(_listed(value.get(name)) == _listed(before) for name, before in required.items())


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
