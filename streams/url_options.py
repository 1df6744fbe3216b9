"""The options in a transport's URL, `?key=value…`: all mistakes are told at once."""

from __future__ import annotations

from typing import Any, get_args
from urllib.parse import parse_qsl

import msgspec


def url_options(query: str, settings: type[msgspec.Struct], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Values for fields of `settings`, all but those in `without`.

    Raises ValueError naming every unknown key and every wrong value.
    """
    kinds = {field.name: field.type for field in msgspec.structs.fields(settings) if field.name not in without}
    values: dict[str, Any] = {}
    wrong = []
    for key, text in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if key not in kinds:
            wrong.append(f"unknown option {key}, use one of {', '.join(sorted(kinds))}")
            continue
        try:
            values[key] = msgspec.convert(text, kinds[key], strict=False)
        except msgspec.ValidationError as error:
            wrong.append(f"{key}={text}: {_wanted(kinds[key], error)}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return values


def _wanted(kind: Any, error: msgspec.ValidationError) -> str:
    choices = [choice for choice in get_args(kind) if isinstance(choice, str)]
    return f"use {' or '.join(choices)}" if choices else str(error)


def with_default(url: str, key: str, value: object) -> str:
    """The URL with `key=value` among its options, unless it has one of its own."""
    _, mark, query = url.partition("?")
    if key in dict(parse_qsl(query, keep_blank_values=True)):
        return url
    return f"{url}{'&' if mark else '?'}{key}={value}"
