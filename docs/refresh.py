"""Writes the output of the commands into README.md: the tour, an event, and the example stage.

    .venv/bin/python docs/refresh.py

Each part is between `<!-- NAME -->` and `<!-- /NAME -->`; the rest of the file is unchanged.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLES = "tinyworld/samples"
FRAME = "FRAME"
TOUR = (
    f"ingest {SAMPLES}/left.mp4 {SAMPLES}/right.mp4 '{SAMPLES}/still-*.jpg' --fps 5",
    f"ingest {SAMPLES}/left.mp4 --fps 5",
    "work --until-idle",
    'search "a red circle, but no square" --limit 2',
    'search "a dog"',
    f"search --image {SAMPLES}/still-06.jpg --limit 2",
    "topics describe",
    f"caption {SAMPLES}/still-03.jpg",
    f"detect {SAMPLES}/still-03.jpg --out drawn.jpg",
    f'classify {SAMPLES}/still-03.jpg --labels "a red circle, a blue circle, a red star"',
)


def run(arguments: str, data: str) -> str:
    """The output of `sightline ARGUMENTS`, both streams."""
    program = Path(sys.executable).with_name("sightline")
    data_option = "" if arguments.startswith(("caption", "detect", "classify")) else f' --data "{data}"'
    done = subprocess.run(  # noqa: S602 - only the commands above, as a person types them
        f'"{program}" {arguments}{data_option}',
        cwd=ROOT,
        shell=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        env={**os.environ, "COLUMNS": "118", "NO_COLOR": "1", "TERM": "dumb", "SIGHTLINE_LOG_FORMAT": "console"},
    )
    shown = done.stdout.replace(str(ROOT), "/home/you/sightline")
    return "\n".join(line.rstrip() for line in shown.strip().splitlines())


def filled(page: str, name: str, content: str) -> str:
    """The page with `content` between the markers of the part `name`. Raises SystemExit if it has no such part."""
    part = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
    if not part.search(page):
        raise SystemExit(f"the page has no part <!-- {name} -->; add it")
    return part.sub(lambda match: f"{match[1]}{content}{match[2]}", page)


def main() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    with tempfile.TemporaryDirectory(prefix="tour-", ignore_cleanup_errors=True) as folder:
        outputs = []
        for arguments in TOUR:
            print(f"$ sightline {arguments}", flush=True)
            outputs.append(f"$ sightline {arguments}\n{run(arguments, folder)}")
        ids = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", outputs[3])
        event = run(f"show {ids[0]}", folder)
    (ROOT / "drawn.jpg").unlink(missing_ok=True)
    stage = (ROOT / "examples" / "brightness.py").read_text("utf-8").rstrip("\n")
    readme = filled(readme, "tour", "```\n" + "\n\n".join(outputs) + "\n```")
    readme = filled(readme, "event", f"```json\n{event}\n```")
    readme = filled(readme, "stage", f"```python\n{stage}\n```")
    (ROOT / "README.md").write_text(readme, "utf-8")


if __name__ == "__main__":
    main()
