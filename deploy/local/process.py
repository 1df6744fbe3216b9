"""Ends a server process."""

from __future__ import annotations

import subprocess


def end(process: subprocess.Popen[bytes], *, seconds: float) -> None:
    """SIGTERM, and SIGKILL if that takes longer than `seconds`."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
