"""Retrains every tiny checkpoint, or those named; what is stopped goes on from its last state when called again.

    python -m tinyworld.train [corpus tower towers yolo sam publish samples] [--device cuda --workers 14]

Each part is a process of its own with one thread. Trainings leave their state in `build/tinyworld/`; take it away to
begin anew. `--workers` processes draw the scenes and prepare the steps, which a GPU would otherwise wait for; that
changes nothing in the result, while another device rounds otherwise and so ends at other weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

TOWERS = "tinyworld.train_towers"


def alone(part: str, *options: str) -> tuple[tuple[str, ...], ...]:
    """A head's own last stretch on the tower that all were trained on together, and its checkpoint."""
    program = (TOWERS, "--folder", f"build/tinyworld/towers-{part}", "--only", part)
    start = ("--start", "build/tinyworld/towers", "--square-after", "0")
    return (*program, *start, *options), (*program, "--export")


PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "corpus": (("tinyworld.corpus",),),
    "tower": (("tinyworld.train_tower",),),
    "towers": (
        (TOWERS,),
        (TOWERS, "--export"),
        *alone("clip", "--steps", "4500", "--rate", "1.2e-3", "--matrix-rate", "2.5e-3"),
        *alone(
            "itm", "--steps", "3000", "--rate", "8e-4", "--matrix-rate", "1.6e-3", "--match-from", "-1", "--scenes", "8"
        ),
    ),
    "yolo": (("tinyworld.train_yolo",),),
    "sam": (("tinyworld.train_sam",),),
    "publish": (("tinyworld.publish",),),
    "samples": (("tinyworld.samples",),),
}
"""Name of the part to the programs that make it, in the order in which they need each other."""
WITHOUT_DEVICE = {"corpus"}
"""Parts that only draw."""
WITHOUT_WORKERS = {"publish", "samples"}
"""Parts that take a minute; they have no device either."""


def where(part: str, device: str, workers: int) -> tuple[str, ...]:
    """What is added to the programs of a part."""
    if part in WITHOUT_WORKERS:
        return ()
    named = () if part in WITHOUT_DEVICE else ("--device", device)
    return (*named, "--workers", str(workers))


def main() -> None:
    """Runs the programs of the parts one after the other; the first that fails ends it with its status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    wanted = given.parts or list(PARTS)
    if unknown := sorted(set(wanted) - set(PARTS)):
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(PARTS)}")
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    for part in (part for part in PARTS if part in wanted):
        for program in PARTS[part]:
            print(f"== {' '.join(program)}", flush=True)
            command = [sys.executable, "-m", *program, *where(part, given.device, given.workers)]
            status = subprocess.run(command, env=environment, check=False).returncode
            if status:
                sys.exit(status)


if __name__ == "__main__":
    main()
