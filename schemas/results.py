"""Schemas of `results[stage]`: what stages without a field of their own put into an event.

A stage registers a msgspec type once, when its module is imported; a reader without that module lets the result
pass as it came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.shape import Misshapen

_schemas: dict[str, Any] = {}


def register(stage: str, schema: Any) -> None:
    """Say what `results[stage]` must be. Raises ValueError if another schema has that name."""
    if _schemas.setdefault(stage, schema) is not schema:
        raise ValueError(f"results[{stage!r}] already has the schema {_schemas[stage]!r}")


def registered() -> dict[str, Any]:
    return dict(_schemas)


def check(stage: str, result: Any) -> None:
    """Raise Misshapen (`wrong_result`) if `result` (plain values or the struct itself) does not fit its schema."""
    if (schema := _schemas.get(stage)) is None:
        return
    try:
        msgspec.convert(msgspec.to_builtins(result), schema)
    except msgspec.ValidationError as wrong:
        raise Misshapen("wrong_result", f"results[{stage!r}]: {wrong}") from wrong
