"""Counts are exact, however much is lost from the end of the table's log and whichever events are delivered again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Observed
from streams.analytics.ledger import Ledger
from streams.analytics.settings import AnalyticsSettings
from streams.analytics.table_values import feed_key, read_feed
from tests.support.observed import BEGAN, observed

SETTINGS = AnalyticsSettings(window_seconds=10, grace_seconds=20, kept_hours=24)
FEEDS = ("lobby", "yard")


class LoggedTable(MutableMapping[bytes, bytes]):
    """A table that logs its writes; after a crash it holds the prefix of the log that survived."""

    def __init__(self) -> None:
        self.log: list[tuple[bytes, bytes | None]] = []
        self._values: dict[bytes, bytes] = {}

    def truncate(self, length: int) -> None:
        del self.log[length:]
        self._values = {key: value for key, value in dict(self.log).items() if value is not None}

    def __getitem__(self, key: bytes) -> bytes:
        return self._values[key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._values[key] = value
        self.log.append((key, value))

    def __delitem__(self, key: bytes) -> None:
        del self._values[key]
        self.log.append((key, None))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def expected_counts(events: list[Observed]) -> Counter[tuple[str, int, str]]:
    counts: Counter[tuple[str, int, str]] = Counter()
    for event in {event.frame: event for event in reversed(events)}.values():
        window = int((event.published.timestamp() - BEGAN) // 10)
        counts[event.feed, window, "dead" if event.state == "dead" else "frames"] += 1
        counts.update({(event.feed, window, label): count for label, count in event.labels.items()})
    return counts


def ledger_counts(table: LoggedTable) -> Counter[tuple[str, int, str]]:
    ledger, totals = Ledger(table, SETTINGS), Counter[tuple[str, int, str]]()
    for name in FEEDS:
        key = feed_key("default", name)
        feed = read_feed(table.get(key))
        for start in {*feed.open, *feed.closed}:
            counts = ledger.counts(key, start)
            window = int((start - BEGAN) // 10)
            for label, count in {"frames": counts.frames, "dead": counts.dead, **counts.labels}.items():
                totals[name, window, label] += count
    return +totals


steps = st.lists(
    st.tuples(st.sampled_from(FEEDS), st.integers(0, 7), st.booleans(), st.sampled_from(["circle", "square"])),
    min_size=1,
    max_size=60,
)


@given(steps, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400), st.integers(0, 60)), max_size=5))
def test_counts_survive_kills_that_lose_the_end_of_the_log_and_repeat_events(
    given_steps: list[tuple[str, int, bool, str]], kills: list[tuple[int, int, int]]
) -> None:
    """A kill happens at some event, keeps the log up to the committed event or further, and replays from there."""
    events, seconds = [], Counter[str]()
    for number, (feed, gap_seconds, dead, label) in enumerate(given_steps):
        seconds[feed] += gap_seconds
        state, labels = ("dead", {}) if dead else ("enriched", {label: 2})
        events.append(observed(number, seconds[feed], feed=feed, state=state, labels=labels))  # type: ignore[arg-type]
    table = LoggedTable()
    log_lengths = [0]

    def run(first: int, until: int) -> None:
        ledger = Ledger(table, SETTINGS)
        del log_lengths[first + 1 :]
        for event in events[first:until]:
            ledger.observe(event, f"ce-{event.frame}")
            log_lengths.append(len(table.log))

    committed = 0
    for kill_at, lost_writes, uncommitted in kills:
        until = max(committed, min(kill_at, len(events)))
        run(committed, until)
        committed = max(0, until - uncommitted)
        table.truncate(max(log_lengths[committed], len(table.log) - lost_writes))
    run(committed, len(events))
    assert ledger_counts(table) == expected_counts(events)


def test_a_flood_in_one_window_keeps_every_value_small() -> None:
    table = LoggedTable()
    ledger = Ledger(table, SETTINGS)
    for number in range(2_000):
        assert ledger.observe(observed(number, 1.0), f"ce-{number}")
    assert not ledger.observe(observed(5, 1.0), "ce-5")
    assert max(len(value or b"") for _, value in table.log) < 2_500
    assert ledger_counts(table) == Counter({("lobby", 0, "frames"): 2_000})


def test_closed_windows_forget_ids_and_later_events_count_as_late() -> None:
    table = LoggedTable()
    ledger = Ledger(table, SETTINGS)
    for number in range(600):
        ledger.observe(observed(number, number % 10), f"ce-{number}")
    ledger.observe(observed(600, 31.0), "ce-600")
    assert len(table) == 3, "the feed, a closed window without slices, an open one's only slice"
    assert not ledger.observe(observed(3, 3.0), "ce-3")
    assert read_feed(table[feed_key("default", "lobby")]).late == 1
