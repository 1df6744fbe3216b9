"""An event and the frame made of it: the same fields, by place."""

from __future__ import annotations

from processors.frame import LOCAL_FIELDS, Frame, freeze, thaw
from schemas.events import FrameEvent
from tests.support.events import full_event


def test_a_frame_has_an_events_fields_in_their_order_and_then_its_own() -> None:
    frame, event = Frame.__struct_fields__, FrameEvent.__struct_fields__
    assert frame[: len(event)] == event
    assert set(frame[len(event) :]) == LOCAL_FIELDS


def test_an_event_comes_through_a_frame_unchanged() -> None:
    event = full_event()
    frame = thaw(event)
    frame.original, frame.extra = b"picture", {"unknown": 1}
    assert freeze(frame) == event


def test_a_frames_results_are_its_own() -> None:
    event = full_event()
    thaw(event).results["mine"] = {}
    assert "mine" not in event.results
