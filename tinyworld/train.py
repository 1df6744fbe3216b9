"""Retrains the tiny checkpoints, all or the named parts. A stopped training resumes from its last state.

    python -m tinyworld.train [corpus tower towers yolo sam publish samples] [--device cuda --workers 14]

Each part is a process of its own with one thread. Trainings keep their state in `build/tinyworld/`; delete it to start
from the beginning. `--workers` processes draw the scenes and prepare the steps, for which a GPU would otherwise wait.
The number of workers does not change the result. Another device rounds differently and ends with other weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

JOINT = "tinyworld.train_joint"


def separately(part: str, *options: str) -> tuple[tuple[str, ...], ...]:
    """The last phase of a head by itself, on its own copy of the jointly trained tower, and its export."""
    program = (JOINT, "--folder", f"build/tinyworld/towers-{part}", "--only", part)
    start = ("--start", "build/tinyworld/towers", "--square-after", "0")
    return (*program, *start, *options), (*program, "--export")


PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "corpus": (("tinyworld.corpus",),),
    "tower": (("tinyworld.pretrain_tower",),),
    "towers": (
        (JOINT,),
        (JOINT, "--export"),
        *separately("clip", "--steps", "4500", "--rate", "1.2e-3", "--matrix-rate", "2.5e-3"),
        *separately(
            "itm", "--steps", "3000", "--rate", "8e-4", "--matrix-rate", "1.6e-3", "--match-from", "-1", "--scenes", "8"
        ),
    ),
    "yolo": (("tinyworld.train_yolo",),),
    "sam": (("tinyworld.train_sam",),),
    "publish": (("tinyworld.publish",),),
    "samples": (("tinyworld.samples",),),
}
"""The programs of each part, in the order of their dependencies."""
WITHOUT_DEVICE = {"corpus"}
"""Parts that only render."""
WITHOUT_WORKERS = {"publish", "samples"}
"""Parts that take about a minute; they take no device either."""


def machine_options(part: str, device: str, workers: int) -> tuple[str, ...]:
    """The options about device and processes that the programs of a part take."""
    if part in WITHOUT_WORKERS:
        return ()
    device_options = () if part in WITHOUT_DEVICE else ("--device", device)
    return (*device_options, "--workers", str(workers))


def main() -> None:
    """Run the programs of the parts in order; exit with the status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"parts to train: {', '.join(PARTS)}; all if none is named"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare scenes and steps")
    arguments = parser.parse_args()
    wanted = arguments.parts or list(PARTS)
    if unknown := sorted(set(wanted) - set(PARTS)):
        parser.error(f"unknown parts: {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    for part in (part for part in PARTS if part in wanted):
        for program in PARTS[part]:
            print(f"== {' '.join(program)}", flush=True)
            command = [sys.executable, "-m", *program, *machine_options(part, arguments.device, arguments.workers)]
            status = subprocess.run(command, env=environment, check=False).returncode
            if status:
                sys.exit(status)


if __name__ == "__main__":
    main()
