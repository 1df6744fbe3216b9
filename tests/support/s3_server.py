"""A real S3 server for tests: s3proxy over a folder, one for the session, in buckets of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.maven import MissingJarsError
from deploy.local.s3 import S3Server, jars


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    try:
        jars()
    except MissingJarsError as error:
        pytest.skip(f"no S3 server to test with: {error}")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server; `s3://` URLs opened in this test lead to it."""
    for name, text in s3_server.environment.items():
        monkeypatch.setenv(name, text)
    return s3_server
