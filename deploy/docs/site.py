"""Builds the documentation site offline: `python -m deploy.docs.site` writes `build/site`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.docs.staging import DOCS, ROOT, stage

BUILD = ROOT / "build"
SETTINGS, NAVIGATION = "zensical.toml", "nav.yml"
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon)[^>]*\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)"
)
"""What a browser fetches by itself; links that a reader follows are not meant."""
_COLORS = re.compile(r"\x1b\[[\d;]*m")


class BuildError(Exception):
    """The site cannot be built, or would load something from the network."""


def build(folder: Path = BUILD, root: Path = ROOT) -> Path:
    """The folder of the finished site. Raises BuildError with the generator's own words, or naming what it loads."""
    folder.mkdir(parents=True, exist_ok=True)
    stage(folder / "docs", root)
    shutil.copyfile(root / DOCS / NAVIGATION, folder / "docs" / NAVIGATION)
    shutil.copyfile(root / DOCS / SETTINGS, folder / SETTINGS)
    shutil.rmtree(folder / "site", ignore_errors=True)
    program = Path(sys.executable).with_name("zensical")
    command = [str(program), "build", "--strict", "--clean", "--config-file", str(folder / SETTINGS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BuildError(_COLORS.sub("", done.stdout).partition("Traceback")[0])
    if loaded := loaded_from_network(folder / "site"):
        raise BuildError("the site loads from the network:\n" + "\n".join(loaded))
    return folder / "site"


def loaded_from_network(site: Path) -> list[str]:
    """`FILE: URL` for everything that pages and style sheets fetch from elsewhere."""
    files = sorted(path for path in site.rglob("*") if path.suffix in (".html", ".css"))
    return [
        f"{file.relative_to(site)}: {next(filter(None, match.groups()))}"
        for file in files
        for match in _LOADED.finditer(file.read_text("utf-8"))
    ]


def main() -> None:
    try:
        site = build()
    except BuildError as error:
        sys.exit(str(error))
    shown = site.relative_to(Path.cwd()) if site.is_relative_to(Path.cwd()) else site
    print(f"Site written to {shown}/index.html. Its search needs a server: python3 -m http.server -d {shown}")


if __name__ == "__main__":
    main()
