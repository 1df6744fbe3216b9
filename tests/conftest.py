"""For all tests: long tests are skipped by default, and a skip in CI fails unless its reason is accepted."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ALLOWED_SKIPS = ("LONG=1", "needs a GPU", "promtool is not installed")
"""Beginnings of skip reasons that CI accepts: by choice, or hardware and programs that CI machines lack."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("LONG") == "1":
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="LONG=1 runs it"))


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
