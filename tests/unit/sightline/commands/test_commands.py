"""Commands as people type them, and their output: the real commands over a real log in an empty folder."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from schemas import topics
from schemas.identity import frame_id, still_position
from sightline.cli import make_app
from sightline.config import Config
from sightline.wiring.build_worker import build_worker
from sightline.wiring.parts import make_transport, opened
from stores.blobs import sha256_hex
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord
from tests.support.deployment import running, until
from tests.support.picture_headers import picture_headers
from tests.support.picture_server import ALLOWED, picture_server
from tests.support.pictures import encoded, scene
from tests.unit.sightline.conftest import Typed

FRAME_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
APP = make_app()
NO_FRAME = "00000000-0000-5000-8000-000000000000"
DECODE_ONLY = '--set=segments=[["decode"]]'


def every_command(typer_app: typer.Typer, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    named = ((each.name, each.callback) for each in typer_app.registered_commands)
    commands = [typer.main.get_command_name(name or callback.__name__) for name, callback in named if callback]
    paths = [path, *((*path, name) for name in commands)]
    for group in typer_app.registered_groups:
        paths += every_command(group.typer_instance, (*path, str(group.name)))  # type: ignore[arg-type]
    return paths


@pytest.mark.parametrize("command", every_command(APP), ids=" ".join)
def test_every_command_has_a_help_text(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(APP, [*command, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert command[-1:] != () or "Start with" in result.stdout


def test_all_commands_are_covered() -> None:
    assert {("work",), ("dead", "list"), ("models", "verify"), ("topics", "describe"), ("config", "check")} <= {
        *every_command(APP)
    }


def test_a_command_that_needs_no_model_imports_none(tmp_path: Path) -> None:
    """Importing torch, or every other command, would add seconds to each command."""
    script = "import sys; from sightline.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", script, "show", "00000000-0000-5000-8000-000000000000", "--data", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no event of frame" in result.stderr
    heavy = {"transformers", "litestar", "faust"} | (set() if torch.cuda.is_available() else {"torch"})
    assert not heavy & set(result.stderr.split())


# Mistakes: all at once, with exit status 2, without a traceback


def test_all_mistakes_of_a_configuration_are_reported_at_once(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "sightline.toml").write_text('modles = "tiny"\n[worker]\nbatch_frames = 0\n', encoding="utf-8")
    result = typed("config", "check", "--set", "serve.port=many")
    assert result.exit_code == 2
    for mistake in ("modles: unknown key; did you mean models?", "worker.batch_frames = 0", "serve.port = 'many'"):
        assert mistake in result.stderr
    assert result.stdout == ""


def test_all_mistakes_of_the_stages_are_reported_at_once(typed: Typed) -> None:
    result = typed(
        *("config", "check", "--set", 'segments=[["decode", "detekt"]]'),
        *("--set", "stages.decode.thraeds=2", "--set", "stages.gate.threshold=1"),
    )
    assert result.exit_code == 2
    for mistake in ("no stage 'detekt'", "stages.decode.thraeds: unknown key; did you mean threads?", "stages.gate"):
        assert mistake in result.stderr


def test_a_plan_that_cannot_work_names_the_stage_and_the_missing_field(typed: Typed) -> None:
    result = typed("config", "check", "--set", 'segments=[["decode"], ["gate"]]')
    assert result.exit_code in (1, 2)
    assert "stage 'gate' requires 'pixels'" in result.stderr


def test_config_check_prints_the_effective_configuration(typed: Typed) -> None:
    result = typed("config", "check", "--set", "worker.batch_frames=7", DECODE_ONLY)
    assert result.exit_code == 0
    config = json.loads(result.stdout)
    assert (config["worker"]["batch_frames"], config["segments"], config["data"]) == (7, [["decode"]], "data")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ingest", "nowhere.mp4"), "nowhere.mp4: no such file or folder"),
        (("ingest", "shots", "--feed", "a/b"), "feed 'a/b'"),
        (("ingest", "shots", "--limit", "0"), "at least 1"),
        (("work", "--segment", "2"), "the plan has 1"),
        (("dead", "replay"), "--all selects all"),
        (("dead", "show", NO_FRAME), f"no dead letter of frame {NO_FRAME}"),
        (("dead", "show", "zzz"), "'zzz' is no frame id; an id looks like 97a12313-8f5f-"),
        (("dead", "replay", "zz\x1b[31mz"), r"'zz\x1b[31mz' is no frame id; an id looks like"),
        (("show", "zzz", "--out", "picture.jpg"), "'zzz' is no frame id"),
        (("forget", NO_FRAME, "zzz"), "'zzz' is no frame id"),
        (("dead", "list", "--since", "yesteryear"), "yesteryear"),
        (("models", "verify", "huge"), "unknown preset 'huge'; use one of tiny"),
        (("models", "pull", "huge"), "unknown preset"),
        (("caption", "shots/3.jpg"), "shots/3.jpg: "),
        (("search", "--image", "shots/3.jpg"), "shots/3.jpg: "),
        (("search",), "say what to look for"),
        (("calibrate", "shots/0.jpg"), "shots/0.jpg: "),
        (("classify", "shots/0.jpg", "--labels", "a dog"), "name at least two"),
        (("topics", "describe", "--set", "transport=nats://there"), "use sqlite:///PATH"),
        (("topics", "describe", "--set", "transport=sqlite:///shots/0.jpg"), "0.jpg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line_with_its_cause(
    typed: Typed, pictures: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "data").mkdir()
    result = typed(*arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [("caption",), ("search", "--image"), ("explore",), ("ingest",)], ids=" ".join)
def test_a_named_pipe_is_not_opened(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PIXABAY_KEY", "k")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "data").mkdir()
    result = typed(*command, "pipe.jpg")
    assert result.exit_code in (1, 2)
    assert "pipe.jpg: not a regular file" in result.stderr


def test_a_data_folder_that_cannot_be_made_is_named(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file is in the way", encoding="utf-8")
    result = typed("topics", "describe")
    assert result.exit_code == 2
    assert "data" in result.stderr


def test_a_data_folder_may_have_any_name(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path / "50%20 off? #1"))
    transport = make_transport(config)
    assert isinstance(transport, SqliteTransport)
    assert transport.path == config.data_path / "log.sqlite"


# Ingest, topics, dead letters


def test_a_broken_file_is_named_and_counted_and_the_others_are_accepted(typed: Typed, pictures: Path) -> None:
    (pictures / "[bold]notes [x].jpg").write_text("no picture", encoding="utf-8")
    result = typed("ingest", "shots")
    assert result.exit_code == 1
    assert "shots: 6 frames accepted, 1 file refused" in result.stdout
    assert "[bold]notes [x].jpg" in result.stdout
    assert "not_a_picture" in result.stdout


def test_a_second_ingest_adds_nothing(typed: Typed, pictures: Path) -> None:
    typed("ingest", "shots")
    shutil.copy(pictures / "0.jpg", pictures / "new.jpg")
    assert "shots: 1 frame accepted, 6 ingested before" in typed("ingest", "shots").stdout
    rows = {line.split()[0]: line.split() for line in typed("topics", "describe").stdout.splitlines()}
    assert rows["frames.raw"][1:4] == ["8", "7", "7"], "partitions, records, lag"
    assert rows["frames.enriched"][2] == "0"
    assert rows["deletions"][-3:] == ["1024", "KiB", "compacted"]


def test_dead_letters_are_listed_shown_replayed_and_dropped(typed: Typed, pictures: Path) -> None:
    sent = truncated()
    asyncio.run(publish([sent]))
    asyncio.run(work())
    listed = typed("dead", "list")
    (frame,) = FRAME_ID.findall(listed.stdout)
    assert "1 dead" in listed.stdout
    shown = typed("dead", "show", frame).stdout
    assert "in stage decode" in shown
    assert "frames.raw" in shown
    assert "no dead letters" in typed("dead", "list", "--stage", "gate").stdout

    assert "1 of 1 dead letter replayed" in typed("dead", "replay", frame).stdout
    assert "no dead letters" in typed("dead", "list").stdout
    asyncio.run(work())
    assert FRAME_ID.findall(typed("dead", "list", "--since", "1h").stdout) == [frame], "it died again, as the same"

    assert "1 dead letter dropped" in typed("dead", "drop", "--all").stdout
    assert "no dead letters" in typed("dead", "list").stdout
    assert "0 of 0 dead letters replayed" in typed("dead", "replay", "--all").stdout


def truncated() -> NewRecord:
    """A JPEG that ends in the middle, from some other producer."""
    content = encoded(scene(1))
    headers = picture_headers("/shop/till", "1", content_type="image/jpeg")
    return NewRecord(topics.RAW, b"1", content[: len(content) // 3], headers)


PLAIN = Config(data="data", segments=(("decode",),))


async def publish(records: list[NewRecord]) -> None:
    async with opened(PLAIN) as parts:
        await parts.transport.publish(records)


async def work() -> None:
    """Until everything is done."""
    async with opened(PLAIN) as parts:
        group = parts.plan.group(PLAIN.worker.group, 0)

        async def done() -> bool:
            return not any((await parts.transport.group_lag(group, [topics.RAW])).values())

        async with running(build_worker(parts, 0)) as task:
            await until(done, task)


def test_every_file_of_the_shipped_models_has_its_hash(typed: Typed) -> None:
    result = typed("models", "verify", "tiny")
    assert result.exit_code == 0, result.stdout + result.stderr
    states = {line.split()[0] for line in result.stdout.splitlines()}
    assert states == {"ok"}
    assert "model.safetensors" in result.stdout


def test_the_presets_are_listed_with_what_is_installed(typed: Typed) -> None:
    listed = typed("models", "list").stdout
    assert "models pull base" in listed
    assert any(line.startswith("tiny") and line.rstrip().endswith("yes") for line in listed.splitlines())


def test_a_frame_that_is_forgotten_leaves_no_file(typed: Typed, pictures: Path, tmp_path: Path) -> None:
    typed("ingest", "shots")
    quick = (DECODE_ONLY, "--set", "worker.watch_seconds=0.1")
    assert typed("work", "--until-idle", *quick).exit_code == 0
    before = set((tmp_path / "data" / "blobs").rglob("*"))
    (dead,) = FRAME_ID.findall(typed("dead", "list", *quick).stdout)
    result = typed("forget", dead, *quick)
    assert (result.exit_code, "Deletion of 1 frame requested" in result.stdout) == (0, True)
    assert typed("work", "--until-idle", *quick).exit_code == 0
    assert len(before - set((tmp_path / "data" / "blobs").rglob("*"))) == 1
    assert "no dead letters" in typed("dead", "list", *quick).stdout
    again = typed("forget", dead, *quick)
    assert (again.exit_code, f"frame {dead} was erased" in again.stderr) == (0, True)


def test_a_list_of_urls_is_fetched_from_allowed_networks(typed: Typed, tmp_path: Path) -> None:
    with picture_server({f"{number}.jpg": encoded(scene(number)) for number in range(3)}) as server:
        listed = [server.url(f"/pictures/{number}.jpg?key=s3cret") for number in range(4)]
        (tmp_path / "shots.txt").write_text("\n".join(listed))
        result = typed("ingest", "shots.txt")
        assert "shots: 0 frames accepted, 4 files refused" in result.stdout
        assert "allow its network" in result.stdout
        result = typed("ingest", "shots.txt", "--set", f"fetch.allow={list(ALLOWED)}")
    assert "shots: 3 frames accepted, 1 file refused" in result.stdout
    assert "s3cret" not in result.stdout
    assert typed("ingest", "shots.txt", "--set", "fetch.allow=['anywhere']").exit_code == 2


NASTY = "new\nline\x1b[31mred \udce9.jpg"


def test_a_dead_letter_names_its_file_and_its_name_steers_no_terminal(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "3.jpg").rename(pictures / NASTY)
    assert typed("ingest", "shots").exit_code == 0
    assert typed("work", "--until-idle", DECODE_ONLY).exit_code == 0
    named = f"{tmp_path}/shots/new\\nline\\x1b[31mred \\xe9.jpg"
    listed = typed("dead", "list").stdout
    assert named in listed
    (dead,) = FRAME_ID.findall(listed)
    shown = typed("dead", "show", dead).stdout
    assert f"from     {named}\n" in shown
    assert "\x1b" not in listed + shown


def test_show_prints_where_a_frame_comes_from_in_json_that_steers_no_terminal(
    typed: Typed, pictures: Path, tmp_path: Path
) -> None:
    name = "a\x9b31m\u202e.jpg"
    (pictures / "0.jpg").rename(tmp_path / name)
    assert typed("ingest", f"{tmp_path}/{name}", "--feed", "odd").exit_code == 0
    assert typed("work", "--until-idle", DECODE_ONLY).exit_code == 0
    frame = frame_id("default", "odd", still_position(f"{tmp_path}/{name}", sha256_hex(encoded(scene(0)))))
    printed = typed("show", frame).stdout
    assert json.loads(printed)["origin"] == f"{tmp_path}/{name}"
    assert not {"\x9b", "\u202e"} & set(printed)
