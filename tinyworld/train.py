"""Retrains every tiny checkpoint, or those named; what is stopped goes on from its last state when called again.

    python -m tinyworld.train [corpus tower towers yolo sam publish samples]

Each part is a process of its own with one thread. Trainings leave their state in `build/tinyworld/`; take it away to
begin anew.
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


def main() -> None:
    """Runs the programs of the parts one after the other; the first that fails ends it with its status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    wanted = parser.parse_args().parts or list(PARTS)
    if unknown := sorted(set(wanted) - set(PARTS)):
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(PARTS)}")
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    for part in (part for part in PARTS if part in wanted):
        for program in PARTS[part]:
            print(f"== {' '.join(program)}", flush=True)
            status = subprocess.run([sys.executable, "-m", *program], env=environment, check=False).returncode
            if status:
                sys.exit(status)


if __name__ == "__main__":
    main()
