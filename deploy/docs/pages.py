"""Writes the generated pages of `docs/`: `python -m deploy.docs.pages`. A test holds them to the code."""

from __future__ import annotations

from pathlib import Path

from deploy.docs import commands, configuration, events, metrics, topics

DOCS = Path(__file__).parents[2] / "docs"


def generated_pages() -> dict[str, str]:
    """Path below `docs/` → content."""
    return {
        "configuration.md": configuration.page(),
        "reference/commands.md": commands.page(),
        "reference/metrics.md": metrics.page(),
        "reference/topics.md": topics.page(),
        "reference/schemas.md": events.page(),
    }


def main() -> None:
    for name, content in generated_pages().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main()
