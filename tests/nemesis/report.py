"""Results as a table for people, as a line of JSON at the end, and in the tables of `docs/faults.md`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.nemesis.faults import FAULTS
from tests.nemesis.player import Result
from tests.nemesis.rig import Scale

COLUMNS = ("fault", "log", "verdict", "accepted", "enriched", "dead", "repeated", "missing", "recovery s", "peak MiB")
BEGIN, END = "<!-- results: written by the program -->", "<!-- end of results -->"
FAULTS_BEGIN, FAULTS_END = "<!-- faults: written by the program -->", "<!-- end of faults -->"
FIRST_WIDTH = max(map(len, FAULTS)) + 1


def head() -> str:
    return _line(COLUMNS)


def line(result: Result) -> str:
    why = f"  {'; '.join(result.why)}" if result.why else ""
    return _line(_cells(result)) + why


def last_line(results: Sequence[Result], scale: Scale) -> str:
    """Sums, and every result."""
    counts = {
        verdict: sum(result.verdict == verdict for result in results) for verdict in ("kept", "BROKEN", "skipped")
    }
    sums = {
        "faults": len(results),
        "kept": counts["kept"],
        "broken": counts["BROKEN"],
        "skipped": counts["skipped"],
        "accepted": sum(result.accepted for result in results),
        "missing": sum(result.missing for result in results),
        "worst_recovery_seconds": max((result.recovery_seconds for result in results), default=0.0),
        "scale": scale.name,
        "machine": _machine(),
    }
    return json.dumps({**sums, "rows": [result.as_json for result in results]}, ensure_ascii=False)


def write(path: Path, results: Sequence[Result], scale: Scale) -> None:
    """Put faults and results between the page's markers; results replace older ones of the same faults."""
    text = path.read_text(encoding="utf-8")
    old = text.partition(BEGIN)[2].partition(END)[0]
    rows = {tuple(_split(line)[:2]): line for line in old.splitlines() if line.startswith("| ") and "`" in line}
    today = datetime.now(UTC).date().isoformat()
    for result in results:
        cells = [f"`{result.fault}`", *_cells(result)[1:], f"{today}, {scale.name}", "; ".join(result.why)]
        rows[cells[0], cells[1]] = f"| {' | '.join(cells)} |"
    columns = [*COLUMNS, "measured", "remarks"]
    order = {f"`{name}`": number for number, name in enumerate(FAULTS)}
    ordered = sorted(rows, key=lambda key: (order.get(key[0], len(order)), key[1]))
    table = _table(columns, [rows[key] for key in ordered])
    text = _replaced(text, BEGIN, END, f"Measured on {_machine()}.\n\n{table}")
    path.write_text(_replaced(text, FAULTS_BEGIN, FAULTS_END, faults_table()), encoding="utf-8")


def faults_table() -> str:
    """Every fault with the logs that it applies to and what it proves, in Markdown."""
    rows = [f"| `{name}` | {', '.join(fault.on)} | {fault.proves} |" for name, fault in FAULTS.items()]
    return _table(("fault", "on", "what it proves"), rows)


def _table(columns: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *rows])


def _replaced(text: str, begin: str, end: str, content: str) -> str:
    """`text` with `content` between two markers; unchanged where they are missing."""
    before, found, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{content}\n\n{end}{after}" if found else text


def _cells(result: Result) -> list[str]:
    if result.verdict == "skipped":
        return [result.fault, result.log, result.verdict, *[""] * (len(COLUMNS) - 3)]
    counts = (result.accepted, result.enriched, result.dead, result.repeated, result.missing)
    return [
        result.fault,
        result.log,
        result.verdict,
        *map(str, counts),
        f"{result.recovery_seconds:.1f}",
        str(result.peak_mebibytes),
    ]


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
