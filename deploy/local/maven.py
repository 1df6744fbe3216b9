"""Fetches Java programs with Maven: their jars are copied once into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


class MissingJarsError(Exception):
    """A program's jars could not be fetched; the message says what to do."""


def copied_jars(pom: Path, name: str, version: str) -> Path:
    """The folder of all jars that `pom` requires with `${NAME.version}` set to `version`, fetched on first use.

    Raises MissingJarsError.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sightline" / f"{name}-{version}"
    if (cache / "complete").exists():
        return cache
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise MissingJarsError(f"{tool} is missing: install a Java 17 runtime and Maven")
    command = ["mvn", "-q", "-B", "-f", str(pom), f"-D{name}.version={version}"]
    fetched = subprocess.run(
        [*command, "dependency:copy-dependencies", f"-DoutputDirectory={cache}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        raise MissingJarsError(f"Maven could not fetch {name} {version}:\n{fetched.stdout[-2000:]}")
    (cache / "complete").touch()
    return cache
