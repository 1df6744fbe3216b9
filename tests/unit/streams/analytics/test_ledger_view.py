"""The view of feeds: health by their newest pictures, counts by window and label."""

from __future__ import annotations

import pytest

from streams.analytics.ledger import Ledger
from streams.analytics.ledger_view import LedgerView
from streams.analytics.settings import AnalyticsSettings
from tests.support.observed import BEGAN, observed

SETTINGS = AnalyticsSettings(window_seconds=10, grace_seconds=20, silent_seconds=15, hold_seconds=5)


def filled(**looks: float) -> LedgerView:
    ledger = Ledger({}, SETTINGS)
    for second in range(10):
        ledger.observe(observed(second, second, labels={"circle": 1}, **looks), f"ce-{second}")  # type: ignore[arg-type]
    return LedgerView(ledger)


@pytest.mark.parametrize(
    ("looks", "after_seconds", "health"),
    [
        ({"luminance": 0.4, "difference": 0.002}, 10, []),
        ({"luminance": 0.4, "difference": 0.002}, 30, ["silent"]),
        ({"luminance": 0.01, "difference": 0.002}, 10, ["dark"]),
        ({"luminance": 0.4, "difference": 0.0}, 10, ["frozen"]),
        ({"luminance": 0.01, "difference": 0.0}, 60, ["silent", "dark", "frozen"]),
    ],
)
def test_health_names_each_problem(looks: dict[str, float], after_seconds: float, health: list[str]) -> None:
    (feed,) = filled(**looks).feeds(BEGAN + after_seconds)
    assert (feed["feed"], feed["health"]) == ("lobby", health)


def test_a_moment_of_darkness_or_stillness_is_healthy() -> None:
    view = filled(luminance=0.4, difference=0.002)
    for second in (10, 12):
        view.ledger.observe(observed(second, second, luminance=0.0, difference=0.0), f"ce-{second}")
    assert view.feeds(BEGAN + 13)[0]["health"] == []


def test_windows_by_feed_label_and_time() -> None:
    view = filled()
    view.ledger.observe(observed(20, 20, labels={"square": 3}), "ce-20")
    view.ledger.observe(observed(21, 21, state="dead"), "ce-21")
    view.ledger.observe(observed(22, 22, state="shed", count=40), "ce-22")
    view.ledger.observe(observed(1, 5, feed="yard"), "ce-y")
    first, second = view.windows(feed="lobby")
    assert (first["frames"], first["labels"]) == (10, {"circle": 10})
    assert (second["frames"], second["dead"], second["shed"]) == (1, 1, 40)
    assert second["reasons"] == {"unreadable_image": 1}
    assert [window["labels"] for window in view.windows("lobby", label="square")] == [{}, {"square": 3}]
    assert [window["frames"] for window in view.windows(since=BEGAN + 20)] == [1]
    assert len(view.windows()) == 3
