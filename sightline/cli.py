"""The `sightline` command. Each group of commands is a module of `sightline.commands`."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: ten times slower on shared cores else

import typer

from sightline.commands import config, dead, feeds, models, oneshot, topics
from sightline.commands.analytics import analytics
from sightline.commands.calibrate import calibrate
from sightline.commands.demo import demo
from sightline.commands.explore import explore
from sightline.commands.forget import forget
from sightline.commands.ingest import ingest
from sightline.commands.search import search
from sightline.commands.serve import serve
from sightline.commands.show import show
from sightline.commands.work import work

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sightline turns image feeds into enriched events, a vector index that people search, and a page.\n\n"
    "Start with [bold]sightline demo[/]; then [bold]sightline ingest PATH[/], [bold]work[/], [bold]serve[/] and "
    "[bold]search[/] on your own pictures.",
)
for command in (demo, ingest, work, serve, search, explore, show, forget, calibrate, analytics):
    app.command(rich_help_panel="The chain")(command)
for command in (oneshot.caption, oneshot.detect, oneshot.embed, oneshot.classify):
    app.command(rich_help_panel="Models on one picture")(command)
app.add_typer(models.app, name="models")
app.add_typer(dead.app, name="dead")
app.add_typer(topics.app, name="topics")
app.add_typer(feeds.app, name="feeds")
app.add_typer(config.app, name="config")


def main() -> None:
    app()
