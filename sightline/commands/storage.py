"""`sightline storage`: what log, pictures and index take, and how long there is room."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from sightline.config import Config
from sightline.terminal.options import configured, out, print_lines
from sightline.terminal.render import new_table
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.parts import opened
from sightline.wiring.storage import not_applied, size, storage_parts
from streams.backends import Backends
from streams.lifecycle.storage_parts import Part, warnings
from streams.lifecycle.tenants import Tenants

AsJson = Annotated[bool, typer.Option("--json", help="Print the parts as one JSON array, in bytes.")]
COLUMNS = ("part", "used", "limit", "share", "a day adds", "days left")


@configured
async def storage(config: Config, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag as typed
    """Show what log, pictures, index and disk take, their limits, and how long there is room.

    The limits are those of the table `storage` of the configuration.

    What a day adds is what the last whole day added. Retention starts where a limit is reached; a part without a limit
    grows until the disk is full.
    """
    check_data_folder(config)
    async with opened(config, as_is=True) as parts:
        tenants = Tenants(Backends(parts.transport, parts.index, parts.blobs), config.tenant)
        counted = await storage_parts(config, parts.blobs, tenants)
    if as_json:
        out.print_json(msgspec.json.encode([_as_json(part) for part in counted]).decode())
        return
    table = new_table(COLUMNS, right=COLUMNS[1:])
    for part in counted:
        table.add_row(*_row(part))
    out.print(table)
    print_lines([*warnings(counted), *not_applied(config)])


def _as_json(part: Part) -> dict[str, object]:
    return {**msgspec.to_builtins(part), "days_left": part.days_left}


def _row(part: Part) -> list[str]:
    share, days = part.share, part.days_left
    return [
        part.name,
        size(part.used_bytes) + (f" + {size(part.reserved_bytes)} for a rebuild" if part.reserved_bytes else ""),
        "none" if part.limit_bytes is None else size(part.limit_bytes),
        "" if share is None else f"{100 * share:.0f}%",
        "" if part.day_bytes is None else size(part.day_bytes),
        "" if days is None else f"{days:.0f}",
    ]
