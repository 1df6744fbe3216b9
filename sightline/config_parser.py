"""Reads a configuration from a TOML file, the environment and flags, and reports all mistakes at once.

Later sources win: file, then `SIGHTLINE_SECTION__KEY` of the environment, then flags. Values of the environment and
of flags are text: a text that is a TOML value is read as one, any other is taken as it is.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import msgspec

PREFIX = "SIGHTLINE_"
WRONG = object()
"""In place of a value that is refused."""
T = TypeVar("T", bound=msgspec.Struct)


class ConfigError(Exception):
    """The configuration cannot be used; `errors` names every wrong key and what is allowed."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = list(errors)


def read_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError, naming file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None


def read_text_value(text: str) -> Any:
    """`"8"` → 8, `"[1, 2]"` → a list; a text that is no TOML value → the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """`SIGHTLINE_WORKER__BATCH_FRAMES=8` → `{"worker": {"batch_frames": 8}}`."""
    tables: dict[str, Any] = {}
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX) and text:
            _check_utf8(name, text)
            put(tables, name.removeprefix(PREFIX).lower().split("__"), read_text_value(text))
    return tables


def _check_utf8(name: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError([f"{name}: the value is not UTF-8"]) from None


def put(tables: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set one value in nested tables. Raises ConfigError if a part of the path is a value and no table."""
    for name in path[:-1]:
        tables = tables.setdefault(name, {})
        if not isinstance(tables, dict):
            raise ConfigError([f"{'.'.join(path)}: {name} is a value, not a table"])
    tables[path[-1]] = value


def merged(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables merged key by key; the last source wins."""
    result: dict[str, Any] = {}
    for source in sources:
        for key, value in source.items():
            both_tables = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both_tables else value
    return result


def holds(tables: Mapping[str, Any], path: tuple[str, str]) -> bool:
    """Whether the table has the key."""
    table, key = path
    return isinstance(tables.get(table), Mapping) and key in tables[table]


def with_new_names(tables: Mapping[str, Any], renamed: Mapping[tuple[str, str], tuple[str, str]]) -> Mapping[str, Any]:
    """The tables with each renamed key under its new name, unless that is given too."""
    result = merged(tables)
    for (old_table, old_key), (table, key) in renamed.items():
        if not holds(tables, (old_table, old_key)):
            continue
        rest = {name: value for name, value in result.pop(old_table).items() if name != old_key}
        result |= {old_table: rest} if rest else {}
        result[table] = {key: tables[old_table][old_key], **result.get(table, {})}
    return result


def shaped(shape: type[T], tables: Any, errors: list[str], path: str = "") -> T | None:
    """Convert `tables` to `shape`; each wrong key adds a line to `errors`, and the result is then None."""
    before = len(errors)
    value = nearest(shape, tables, errors, path)
    return value if len(errors) == before else None


def nearest(shape: type[T], tables: Any, errors: list[str], path: str = "") -> T | None:
    """As `shaped`, but with defaults in place of wrong keys; None only where that is not possible."""
    if not isinstance(tables, Mapping):
        errors.append(f"{path}: a table is expected, not {tables!r}")
        return None
    hints = get_type_hints(shape, include_extras=True)
    known = {entry.encode_name: entry.name for entry in msgspec.structs.fields(shape)}
    values, complete = {}, True
    for key, value in tables.items():
        key_path = f"{path}.{key}" if path else key
        if key not in known:
            errors.append(f"{key_path}: unknown key{_suggestion(key, known, hints)}")
        elif (converted := _converted(hints[known[key]], value, errors, key_path)) is not WRONG:
            values[known[key]] = converted
        else:
            complete = False
    # What a table says of several keys may be due to a default; the checks of the whole are of single keys.
    return _built(shape, values, errors if complete or not path else [], path)


def _suggestion(key: str, known: Mapping[str, str], kinds: Mapping[str, Any]) -> str:
    tables = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    inside = [name for name, kind in tables.items() if key in {f.encode_name for f in msgspec.structs.fields(kind)}]
    if inside:
        return f"; did you mean {' or '.join(f'{name}.{key}' for name in inside)}?"
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; allowed: {', '.join(sorted(known))}"


def _converted(kind: Any, value: Any, errors: list[str], key_path: str) -> Any:
    """The value as `kind`, or WRONG with a line in `errors`."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        built = nearest(kind, value, errors, key_path)
        return WRONG if built is None else built
    if get_origin(kind) is dict and isinstance(value, Mapping):
        inner = kind.__args__[1]
        entries = {key: _converted(inner, entry, errors, f"{key_path}.{key}") for key, entry in value.items()}
        return {key: entry for key, entry in entries.items() if entry is not WRONG}
    try:
        return msgspec.convert(value, kind, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        errors.append(f"{key_path} = {value!r}: {str(error)[:1].lower()}{str(error)[1:]}")
        return WRONG


def reasons(*checks: Callable[[], object]) -> list[str]:
    """What each of the checks that fail says, by a ValueError."""
    found = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            found.append(str(error))
    return found


def _built(shape: type[T], values: dict[str, Any], errors: list[str], path: str) -> T | None:
    """With a line in `errors` for what contradicts itself, and then without the keys that do, if that helps."""
    try:
        return shape(**values)
    except (ValueError, TypeError) as error:
        errors.append(f"{path or 'configuration'}: {error}")
    kept: dict[str, Any] = {}
    for key, value in values.items():
        with suppress(ValueError, TypeError):
            shape(**kept, **{key: value})
            kept[key] = value
    with suppress(ValueError, TypeError):
        return shape(**kept)
    return None
