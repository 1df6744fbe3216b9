"""Fetching against a real HTTP server that breaks off, is busy, has gone or lies; faults are data."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from processors.models.download import DownloadError, FileCheck, pull, verify
from processors.models.presets import TINY_FOLDERS, File, Model, presets

CONTENT = bytes(range(256)) * 12_000
HASH = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every name. `faults` are met one per request: a status, or bytes after which it breaks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[tuple[str, int]] = []
        self.requests: list[str] = []
        self.announced = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{{revision}}/{{name}}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        byte_range = self.headers.get("Range") or ""
        self.server.requests.append(f"{self.path} {byte_range}".strip())
        kind, value = self.server.faults.pop(0) if self.server.faults else ("none", 0)
        first = int(byte_range.removeprefix("bytes=").rstrip("-") or 0)
        if kind == "status" or first >= len(CONTENT):
            self.send_error(value or 416)
            return
        self.send_response(206 if byte_range else 200)
        self.send_header("Content-Length", str(len(CONTENT) - first))
        if self.server.announced:
            self.send_header("X-Linked-Etag", f'"{self.server.announced}"')
        self.end_headers()
        self.wfile.write(CONTENT[first : first + value] if kind == "break" else CONTENT[first:])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def model(server: Server, sha256: str = HASH) -> Model:
    files = (File(name="model.safetensors", sha256=sha256, size_bytes=len(CONTENT)),)
    return Model(role="visual", folder="vit", source=server.address, revision="abc", files=files)


def states(findings: list[FileCheck]) -> list[str]:
    return [finding.state for finding in findings]


def test_a_broken_connection_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.faults = [("status", 503), ("break", 1_000_000), ("break", 1)]
    progress: list[tuple[int, int]] = []
    pull([model(server)], tmp_path, lambda _m, _f, done, total: progress.append((done, total)), wait_seconds=0.001)
    assert (tmp_path / "vit/model.safetensors").read_bytes() == CONTENT
    path = "/abc/model.safetensors"
    assert server.requests == [path, path, f"{path} bytes=1000000-", f"{path} bytes=1000001-"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert states(verify([model(server)], tmp_path)) == ["ok"]


def test_what_is_there_and_right_is_not_fetched_again_and_what_is_wrong_is(server: Server, tmp_path: Path) -> None:
    pull([model(server)], tmp_path)
    pull([model(server)], tmp_path)
    assert len(server.requests) == 1
    (tmp_path / "vit/model.safetensors").write_bytes(b"damaged")
    assert states(verify([model(server)], tmp_path)) == ["wrong"]
    pull([model(server)], tmp_path)
    assert states(verify([model(server)], tmp_path)) == ["ok"]


def test_another_file_under_the_same_name_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="instead of 0000"):
        pull([model(server, "0" * 64)], tmp_path)
    assert list((tmp_path / "vit").iterdir()) == []
    assert states(verify([model(server)], tmp_path)) == ["missing"]


def test_an_unknown_hash_is_held_to_the_server_s_and_then_to_the_first(server: Server, tmp_path: Path) -> None:
    server.announced = "1" * 64
    with pytest.raises(DownloadError, match="instead of 1111"):
        pull([model(server, "")], tmp_path)
    server.announced = HASH
    pull([model(server, "")], tmp_path)
    assert states(verify([model(server, "")], tmp_path)) == ["ok"]
    (tmp_path / "vit/model.safetensors").write_bytes(b"exchanged")
    assert states(verify([model(server, "")], tmp_path)) == ["wrong"]


def test_what_will_not_pass_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.faults = [("status", 404)]
    with pytest.raises(DownloadError, match="404"):
        pull([model(server)], tmp_path)
    server.faults = [("status", 500)] * 3
    with pytest.raises(DownloadError, match="500"):
        pull([model(server)], tmp_path, attempts=3, wait_seconds=0.001)
    assert len(server.requests) == 4


def test_a_part_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit/model.safetensors.part").write_bytes(CONTENT + b"more")
    pull([model(server)], tmp_path)
    assert states(verify([model(server)], tmp_path)) == ["ok"]


def test_presets_name_everything_a_plan_needs(tmp_path: Path) -> None:
    known = presets()
    assert list(known) == ["tiny", "base", "large"]
    for name in ("base", "large"):
        folders = known[name].folders(tmp_path)
        assert {"detect", "caption", "semantic", "visual", "segment"} <= folders.keys()
        for entry in known[name].models:
            assert entry.revision != "main"
            assert all(entry.address(file).startswith("https://") for file in entry.files)
            assert all("{" not in entry.address(file) for file in entry.files)
            assert all(len(file.sha256) in (0, 64) for file in entry.files)


def test_the_shipped_models_are_those_of_their_manifest(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/config.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    files = f'{{"clip/config.json": {{"sha256": "{digest}", "size_bytes": 2}}}}'
    (tmp_path / "manifest.json").write_text(f'{{"version": 1, "files": {files}}}')
    tiny = presets(tmp_path / "manifest.json")["tiny"]
    assert tiny.folders(tmp_path) == {"semantic": tmp_path / TINY_FOLDERS["semantic"]}
    assert states(verify(tiny.models, tmp_path)) == ["ok"]


def test_a_disk_without_room_is_told_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    huge = Model(
        role="visual",
        folder="vit",
        source=server.address,
        files=(File(name="model.safetensors", size_bytes=1 << 60),),
    )
    with pytest.raises(DownloadError, match=r"1152921504\.6 GB are needed, and its disk has .* GB free"):
        pull([huge], tmp_path / "new")
    assert server.requests == []
    assert not (tmp_path / "new").exists()


def test_a_file_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "vit" / "model.safetensors.part"
    part.mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"vit/model\.safetensors: "):
        pull([model(server)], tmp_path, wait_seconds=0.001)
