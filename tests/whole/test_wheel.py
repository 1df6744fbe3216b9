"""The wheel, installed away from the clone and started in an empty folder: what it ships is in it, and found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("processors", "schemas", "search", "sightline", "stores", "streams", "tinyworld")
WARM_SECONDS = 300.0

pytestmark = [pytest.mark.whole]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `sightline` of an environment with the wheel and this environment's dependencies, without its own sightline.

    The wheel is built from a copy, without the compiled code, which is optional.
    """
    folder = tmp_path_factory.mktemp("wheel")
    copy, environment = folder / "copy", folder / "environment"
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "_wire.c"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    build = (*pip, "wheel", str(copy), "--no-deps", "--no-build-isolation", "-w", str(folder))
    subprocess.run(build, check=True, env=os.environ | {"CC": "false"})
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    (wheel,) = folder.glob("sightline-*.whl")
    subprocess.run((*pip, "--python", str(python), "install", "--no-deps", str(wheel)), check=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # A path in a .pth file: the .pth files that lie there, an editable install among them, are not read.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "sightline"


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs a command in an empty folder, with a home and a temporary folder of its own."""
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "PYTHON"))}
    own |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "200"}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (installed, *arguments),
            cwd=tmp_path / "work",
            env=own,
            capture_output=True,
            text=True,
            timeout=WARM_SECONDS,
            check=False,
        )

    return command


def test_it_is_the_wheel_s_own_code(installed: Path) -> None:
    code = "import sightline, tinyworld; print(*sightline.__path__, *tinyworld.__path__)"
    python = installed.with_name("python")
    found = subprocess.run((python, "-c", code), capture_output=True, text=True, check=True, cwd="/").stdout.split()
    assert all(Path(path).is_relative_to(installed.parents[1]) for path in found), found


def test_the_shipped_models_are_listed_and_verified(run: Run, tmp_path: Path) -> None:
    listed, verified = run("models", "list"), run("models", "verify")
    assert (listed.returncode, verified.returncode) == (0, 0), listed.stderr + verified.stderr
    assert {line.split()[0] for line in verified.stdout.splitlines()} == {"ok"}
    assert "models pull base" in listed.stdout
    assert not list((tmp_path / "work").iterdir())


def test_the_demo_runs_and_leaves_only_the_file_that_it_names(run: Run, tmp_path: Path) -> None:
    result = run("demo", "--once")
    assert result.returncode == 0, result.stderr
    assert "Contact sheet written to sightline-demo.jpg" in result.stdout
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["sightline-demo.jpg"]
    assert not list((tmp_path / "tmp").glob("sightline-*"))
    assert "red circle" in result.stdout
