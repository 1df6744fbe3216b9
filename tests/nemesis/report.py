"""How results are told: a table for people, a line of JSON at the end, and the table in `docs/faults.md`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.nemesis.play import Row
from tests.nemesis.scene import Scale
from tests.nemesis.table import FAULTS

COLUMNS = ("fault", "log", "verdict", "accepted", "enriched", "dead", "repeated", "missing", "recovery s", "peak MiB")
BEGIN, END = "<!-- results: written by the program -->", "<!-- end of results -->"
FIRST_WIDTH = max(map(len, FAULTS)) + 1


def head() -> str:
    return _line(COLUMNS)


def told(row: Row) -> str:
    why = f"  {'; '.join(row.why)}" if row.why else ""
    return _line(_cells(row)) + why


def last_line(rows: Sequence[Row], scale: Scale) -> str:
    """Sums, and every row."""
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("kept", "BROKEN", "skipped")}
    sums = {
        "faults": len(rows),
        "kept": counts["kept"],
        "broken": counts["BROKEN"],
        "skipped": counts["skipped"],
        "accepted": sum(row.accepted for row in rows),
        "missing": sum(row.missing for row in rows),
        "worst_recovery_seconds": max((row.recovery_seconds for row in rows), default=0.0),
        "scale": scale.name,
        "machine": _machine(),
    }
    return json.dumps({**sums, "rows": [row.plain for row in rows]}, ensure_ascii=False)


def write(path: Path, rows: Sequence[Row], scale: Scale) -> None:
    """Put the rows between the page's marks, in the place of older rows of the same faults."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    kept = {tuple(_split(line)[:2]): line for line in old.splitlines() if line.startswith("| ") and "`" in line}
    today = datetime.now(UTC).date().isoformat()
    for row in rows:
        cells = [f"`{row.fault}`", *_cells(row)[1:], f"{today}, {scale.name}", "; ".join(row.why)]
        kept[cells[0], cells[1]] = f"| {' | '.join(cells)} |"
    columns = [*COLUMNS, "measured", "remarks"]
    order = {f"`{name}`": place for place, name in enumerate(FAULTS)}
    lines = [line for key, line in sorted(kept.items(), key=lambda one: (order.get(one[0][0], 99), one[0][1]))]
    table = "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *lines])
    path.write_text(f"{before}{BEGIN}\n\nOn {_machine()}.\n\n{table}\n\n{END}{after}", encoding="utf-8")


def _cells(row: Row) -> list[str]:
    if row.verdict == "skipped":
        return [row.fault, row.log, row.verdict, *[""] * (len(COLUMNS) - 3)]
    counts = (row.accepted, row.enriched, row.dead, row.repeated, row.missing)
    return [row.fault, row.log, row.verdict, *map(str, counts), f"{row.recovery_seconds:.1f}", str(row.peak_mebibytes)]


def _line(cells: Sequence[str]) -> str:
    first, *rest = cells
    return first.ljust(FIRST_WIDTH) + "  ".join(cell.rjust(max(8, len(name))) for name, cell in _paired(rest))


def _paired(cells: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(COLUMNS[1:], cells, strict=True))


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load:.1f} at the end"
