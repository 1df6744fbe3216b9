"""Runs a program to which permissions apply even where the tests run as a superuser, who may read every folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_RIGHTS = "-dac_override,-dac_read_search"


def run_without_rights(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_prefix(), *command], cwd=cwd, capture_output=True, text=True, check=False)


def _prefix() -> Sequence[str]:
    if os.geteuid():
        return ()
    if (setpriv := shutil.which("setpriv")) is None:
        pytest.skip("run as a superuser, and there is no setpriv to give up its rights")
    return (setpriv, f"--bounding-set={_RIGHTS}", f"--inh-caps={_RIGHTS}")
