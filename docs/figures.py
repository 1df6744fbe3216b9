"""Writes the measured figures into README.md and tinyworld/README.md.

    .venv/bin/python docs/figures.py

`make bench` and `make evaluate` keep the last line of every program in `bench/results/NAME.json`; no figure is typed by
hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refresh import filled

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Claim:
    """A claim, the program that measures it, and the keys of its figures with their goals."""

    text: str
    program: str
    goals: dict[str, str]


CLAIMS = (
    Claim(
        "negative queries (200): forbidden pictures among the first ten; share of allowed ones found",
        "search",
        {"forbidden_in_top10": "0", "allowed_recall": "≥ 0.9"},
    ),
    Claim("queries with a match distinguished from queries without any", "search", {"nothing_auroc": "≥ 0.95"}),
    Claim(
        "throughput of the fused pipeline over a bare loop of its models",
        "pipeline",
        {"ratio_tiny": "≥ 0.85", "ratio_base": "≥ 0.95"},
    ),
    Claim(
        "decoding over the faster of OpenCV and simplejpeg alone; over PyAV alone",
        "decode",
        {"ratio_jpeg": "≥ 0.95", "ratio_video": "≥ 0.95"},
    ),
    Claim(
        "the embedded log over a bare sqlite3 loop; cost with a backlog of 1 M events over 10 k",
        "log",
        {"ratio_bare": "≥ 0.8", "cost_1m_over_10k": "≤ 1.1"},
    ),
    Claim("upserts through the index process over Qdrant Edge alone", "index", {"ratio_upserts": "≥ 0.8"}),
    Claim(
        "searches among 100,000 points, milliseconds, and over Edge alone",
        "index",
        {"p99_ms": "≤ 50", "p99_filtered_ms": "≤ 50", "ratio_p99": "≤ 1.5"},
    ),
    Claim("peak memory at 20,000 frames over that at 2,000", "memory", {"ratio_peak": "≤ 1.2"}),
    Claim(
        "a hop over Kafka, 1 KB events, over a hand-written loop, Faust, quixstreams",
        "hop",
        {"over_raw": "≥ 0.9", "over_faust": "≥ 10", "over_quixstreams": "≥ 1.0"},
    ),
    Claim("seconds from captured to searchable over Kafka, 10 frames/s", "latency", {"p95_seconds": "≤ 1"}),
    Claim(
        "two workers over one; 200 feeds over one; other feeds' p95 latency beside a flooding feed over that without",
        "scale",
        {"ratio_two_workers": "≥ 1.7", "ratio_200_feeds": "≥ 0.9", "ratio_flooded_p95": "≤ 2"},
    ),
    Claim(
        "a simulated year on a small disk: most disk used over its budget; the last quarter's over the one's before",
        "year",
        {"disk_over_budget": "≤ 1.05", "growth_last_half": "≤ 1.02"},
    ),
    Claim(
        "in that year: accepted frames lost; erased frames of which anything is left; writes that were refused",
        "year",
        {"accepted_lost": "0", "undeleted": "0", "refused_writes": "0"},
    ),
)

MODELS = (
    ("caption_exact", "caption exactly right"),
    ("crop_caption_exact", "the same for a crop around one thing"),
    ("text_to_image_r1", "a caption's own picture first of 500, half of which are one word away"),
    ("itm_r1", "the same after the first 50 are scored by the matching head"),
    ("clip_monotone", "a true thing raises a text's similarity *and* a false one lowers it"),
    ("visual_same_scene", "the same scene from another camera first of 500"),
    ("detect_map50", "boxes"),
    ("track_idf1", "tracks"),
    ("sam_iou", "masks for boxes"),
    ("sam_grid_recall", "masks by the automatic generator"),
)
NUMBERS = ("1", "2", "3", "4", "5", "6")


def result(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def number(value: object) -> str:
    return "not measured" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if value else "0"


def claims() -> str:
    rows = ["| claim | command | goal | measured | load |", "|---|---|---|---|---|"]
    for claim in CLAIMS:
        figures = result(claim.program)
        goals = "; ".join(f"`{key}` {goal}" for key, goal in claim.goals.items())
        measured = "; ".join(number(figures.get(key)) for key in claim.goals)
        load = figures["machine"]["load"][0] if figures else ""
        rows.append(f"| {claim.text} | `python -m bench.{claim.program}` | {goals} | {measured} | {load} |")
    return "\n".join(rows)


def models() -> str:
    figures = result("tinyworld")
    rows = [
        f"| figure | | goal | measured | {' | '.join(NUMBERS)} | random weights |",
        "|---|---|---|---|" + "---|" * (len(NUMBERS) + 1),
    ]
    for key, text in MODELS:
        by_things = figures.get(f"{key}_by_things", {})
        goal, value = figures["goals"][key], figures[key]
        shown = f"**{value:.3f}**" if value >= goal else f"{value:.3f}"
        cells = " | ".join(f"{by_things[n]:.2f}" if n in by_things else "" for n in NUMBERS)
        rows.append(f"| `{key}` | {text} | {goal} | {shown} | {cells} | {figures[f'{key}_random']:.2f} |")
    return "\n".join(rows)


def main() -> None:
    for path, name, content in (
        (ROOT / "README.md", "measured", claims()),
        (ROOT / "tinyworld" / "README.md", "figures", models()),
    ):
        path.write_text(filled(path.read_text("utf-8"), name, content), "utf-8")


if __name__ == "__main__":
    main()
