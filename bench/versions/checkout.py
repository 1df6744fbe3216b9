"""Two versions of the repository on one machine: a commit in a git worktree, and the present working tree.

Both run with the interpreter and the packages of this environment. `PYTHONPATH` takes precedence over an editable
install, so a process imports the version whose root it names.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILED = "streams/kafka/**/_wire*.so"


def commit_of(ref: str) -> str:
    """The full hash of a commit. Raises ValueError for an unknown ref."""
    done = _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False)
    if done.returncode:
        raise ValueError(f"{ref} is not a commit of this repository")
    return done.stdout.strip()


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit in `folder`; removed on leaving."""
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder), check=False)
        shutil.rmtree(folder, ignore_errors=True)
        _git("worktree", "prune", check=False)


@contextmanager
def present_copy(folder: Path) -> Iterator[Path]:
    """The files of the working tree in `folder`, uncommitted changes included; removed on leaving."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():  # a deleted file is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def clean_up_on_termination() -> None:
    """SIGTERM ends this process as an exception does: worktrees are removed, processes ended."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def environment(root: Path) -> dict[str, str]:
    """Environment variables of a process that runs the version in `root`."""
    return {
        **os.environ,
        "PYTHONPATH": str(root),
        "OMP_WAIT_POLICY": "PASSIVE",
        "COLUMNS": "200",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


def compile_wire(root: Path) -> bool:
    """Compile the optional code of a worktree as an install does. False if there is no C compiler."""
    with tempfile.TemporaryDirectory(prefix="bench-build-") as built:
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", built, str(root)]
        subprocess.run(install, check=True, cwd=root)
        for library in Path(built).glob(COMPILED):
            shutil.copy2(library, root / library.relative_to(built))
    return has_compiled(root)


def has_compiled(root: Path) -> bool:
    return any(root.glob(COMPILED))


def _git(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=check, capture_output=True, text=True)
