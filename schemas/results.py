"""Schemas of `results[stage]`: the results of stages without a field of their own in the event.

A stage registers a msgspec type once, when its module is imported; a reader without that module passes the result on
unchanged.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.shape import Misshapen


class OutOfDomain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`results[stage]` of a stage whose model was not trained on pictures like this one: its answer is withheld."""

    out_of_domain: bool


OUT_OF_DOMAIN_RESULT: Final = {"out_of_domain": True}
"""The same as plain values, as a decoded event has it."""

_schemas: dict[str, Any] = {}


def register(stage: str, schema: Any) -> None:
    """Declare the schema of `results[stage]`. Raises ValueError if the stage has another one."""
    if _schemas.setdefault(stage, schema) is not schema:
        raise ValueError(f"results[{stage!r}] already has the schema {_schemas[stage]!r}")


def registered() -> dict[str, Any]:
    """The schemas by stage."""
    return dict(_schemas)


def check(stage: str, result: Any) -> None:
    """Raise Misshapen (`wrong_result`) if `result` (plain values or the struct itself) does not match its schema."""
    if (schema := _schemas.get(stage)) is None:
        return
    try:
        msgspec.convert(msgspec.to_builtins(result), schema)
    except msgspec.ValidationError as error:
        raise Misshapen("wrong_result", f"results[{stage!r}]: {error}") from error
