"""For all tests: what runs side by side, long tests are skipped by default, and a skip in CI fails unless accepted."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.pop("COLUMNS", None)  # set in xdist's processes; commands print as they do into a pipe

ALLOWED_SKIPS = ("LONG=1", "needs a GPU", "promtool is not installed")
"""Beginnings of skip reasons that CI accepts: by choice, or hardware and programs that CI machines lack."""


FIRST = ("tests/kafka", "tests/whole", "tests/browser", "tests/faults", "tests/contract")
"""The groups that take longest begin first, so that no process waits for another at the end."""
TOGETHER = ("tests/browser",)
"""Folders whose tests share a costly fixture."""


BROKER = re.compile(r"tests/kafka/.*\[(?:.*-)?(?P<version>\d+\.\d+\.\d+)(?:-.*)?\]$")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=rank)
    if os.environ.get("LONG") == "1":
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="LONG=1 runs it"))


def rank(item: pytest.Item) -> int:
    return next((place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder)), len(FIRST))


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """With `-n`, the tests of a file run in one process, and so do those that share a broker."""

    def _split_scope(self, nodeid: str) -> str:
        if broker := BROKER.match(nodeid):
            return f"kafka-{broker['version']}"
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):  # type: ignore[no-untyped-def]
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every test must run: {reason}"
