"""`sightline config check` reports every mistake in one round, and accepts only what `sightline work` starts with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.sightline.conftest import Typed

MISTAKEN = """
modles = "tiny"
models = "huge"
tenant = "a/b"
transport = "kafka://someone:s3cret@broker:9092?delivry=once&delivery=once&replicas=many"
index = "htp://qdrant:6333"
blobs = "ftp://bucket"
segments = [["decode", "detekt", "own"], ["decode"]]

[worker]
batch_frames = "many"
device = "gpu"

[fetch]
allow = ["anywhere"]

[serve]
port = 70000

[stages.decode]
thraeds = 2

[stages.own]
file = "nowhere.py"
"""


def test_mistakes_of_all_tables_are_reported_at_once(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "sightline.toml").write_text(MISTAKEN)
    result = typed("config", "check")
    assert result.exit_code == 2
    assert result.stdout == ""
    for mistake in (
        "modles: unknown key; did you mean models?",
        "tenant 'a/b'",
        "unknown option delivry, use one of ca_file, ",
        "delivery=once: use at_least_once or transactional",
        "replicas=many: ",
        "index 'htp://qdrant:6333': use edge:FOLDER, or the URL of a Qdrant server",
        "blobs 'ftp://bucket': use a folder",
        "no stage 'detekt'",
        "stages.own.file: no such file: ",
        "segment 2 has no stage that an earlier segment has not",
        "worker.batch_frames = 'many'",
        "worker.device = 'gpu': use auto, cpu, cuda or cuda:NUMBER",
        "fetch: allow = 'anywhere'",
        "serve.port = 70000",
        "stages.decode.thraeds: unknown key; did you mean threads?",
    ):
        assert mistake in result.stderr, mistake
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("transport=kafaka://u:s3cret@there", "use sqlite:///PATH (the embedded log) or kafka://HOST:PORT"),
        ("transport=sqlite:///log.sqlite?max_byts=1", "unknown option max_byts"),
        ("transport=kafka://there:9092?ca_file=nowhere.pem&security=ssl", "ca_file nowhere.pem: No such file"),
        ("index=http://qdrant:6333?grpc_prot=1", "a Qdrant server's URL is"),
        ("models=huge", "unknown preset; use one of tiny"),
        ("models=base", "no weights in "),
        (
            "stages.caption.weights=nowhere",
            "caption.weights: no weights in nowhere; give the folder of your own",
        ),
        ("worker.device=cuda:99", "torch finds "),
        ("stages.own.file=broken.py", "broken.py: SyntaxError"),
        ("stages.own.file=missing.py", "missing.py: ModuleNotFoundError: No module named 'nowhere'"),
        ("stages.gate.thresholt=1", "stages.gate.thresholt: unknown key"),
    ],
)
def test_what_config_check_refuses_work_refuses_before_it_starts_anything(
    typed: Typed, pictures: Path, tmp_path: Path, setting: str, mistake: str
) -> None:
    (tmp_path / "broken.py").write_text("class Own(")
    (tmp_path / "missing.py").write_text("import nowhere")
    own = ("--set", 'segments=[["decode", "own"]]') if "own.file" in setting else ()
    for command in (("config", "check"), ("work", "--set", "serve.metrics_port=0")):
        result = typed(*command, "--set", f"model_folder={tmp_path / 'models'}", *own, "--set", setting)
        assert (result.exit_code, mistake in result.stderr) == (2, True), result.stderr
        assert "s3cret" not in result.stderr
        assert "warming up" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_passwords_are_not_printed(typed: Typed) -> None:
    result = typed("config", "check", "--set", "transport=kafka://me:s3/cr@t@broker:9092")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["transport"] == "kafka://me:…@broker:9092"
