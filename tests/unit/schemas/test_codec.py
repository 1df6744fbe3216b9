from __future__ import annotations

import json
from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas import codec, results
from schemas.cloudevents import OBSERVED_TYPE, RAW_TYPE, frame_headers
from schemas.errors import NewerMajor, Undecodable, Unencodable
from schemas.events import Detection, FrameEvent, ImageRef, TraceEntry
from schemas.identity import frame_id, produced_position
from schemas.pictures import feed_of_source
from tests.support.events import BOX, NOW, dead_letter, embedding, full_event, observed, raw_event
from tests.support.picture_headers import picture_headers

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def as_written(event: FrameEvent) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.msgpack.decode(codec.encode_frame(event))
    return plain


def changed(**changes: Any) -> bytes:
    return msgspec.msgpack.encode(as_written(raw_event()) | changes)


@pytest.mark.parametrize("event", [raw_event(), full_event()])
def test_an_event_comes_back_as_it_was(event: FrameEvent) -> None:
    headers = frame_headers(event, RAW_TYPE)
    decoded = codec.decode_frame(codec.encode_frame(event), headers)
    assert (decoded.event, decoded.extra, decoded.picture) == (event, {}, None)


def test_json_is_for_everybody_and_never_carries_pixels() -> None:
    written = codec.encode_frame(full_event(), as_json=True)
    assert "inline" not in json.loads(written)["image"]
    assert codec.decode_frame(written, {}).event == replace(
        full_event(), image=replace(full_event().image, inline=None)
    )


@pytest.mark.parametrize("extra", [{}, {"hue": "red"}], ids=["as we write it", "with a field of a newer writer"])
def test_times_with_an_offset_are_read_in_utc(extra: dict[str, str]) -> None:
    written = json.loads(codec.encode_frame(raw_event(), as_json=True)) | extra
    taken = written | {"captured": "2026-11-21T17:30:00.25+09:00", "ingested": "2026-11-21T00:30:00.25-08:00"}
    event = codec.decode_frame(msgspec.json.encode(taken), {}).event
    assert [event.captured, event.ingested] == [NOW, NOW]
    assert {event.captured.tzinfo if event.captured else None, event.ingested.tzinfo} == {UTC}
    beyond = written | {"captured": "0001-01-01T00:00:00+14:00"}
    with pytest.raises(Undecodable):
        codec.decode_frame(msgspec.json.encode(beyond), {})


def test_a_picture_s_capture_time_is_read_in_utc() -> None:
    headers = picture_headers("/cams/lobby", "17", content_type="image/jpeg") | {
        "ce_time": b"2026-11-21T17:30:00.25+09:00"
    }
    captured = codec.decode_frame(PNG, headers).event.captured
    assert captured == NOW
    assert captured.tzinfo is UTC


def test_json_without_embeddings_has_none_in_regions_either() -> None:
    written = json.loads(codec.encode_frame(full_event(), as_json=True, with_embeddings=False))
    assert "embeddings" not in written
    assert all("embeddings" not in region for region in written["regions"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\x80" * (codec.MAX_VALUE_BYTES + 1), "too_large"),
        (b"\xc1", "malformed"),
        (b"\xdd\xff\xff\xff\xff", "malformed"),
        (b'{"id": ', "malformed"),
        (b"\x91" * 100_000 + b"\xc0", "too_deep"),
        (b'{"id":' * 100_000, "too_deep"),
        (msgspec.msgpack.encode([1]), "wrong_type"),
        (msgspec.msgpack.encode({"id": 1}), "wrong_type"),
        (changed(kind="video"), "wrong_type"),
        (changed(detections=[{"label": "x"}]), "wrong_type"),
        (changed(detections=7), "wrong_type"),
        (changed(version="1"), "wrong_type"),
        (changed(ingested="2026-11-21T08:00:00"), "wrong_type"),
        (changed(results={"s": {1: "a key that is no text"}}), "wrong_type"),
        (changed(results={"s": msgspec.msgpack.Ext(5, b"x")}), "wrong_type"),
        (changed(detections=[{"label": "x", "confidence": nan, "box": BOX}]), "not_finite"),
        (changed(detections=[{"label": "x", "confidence": 0.5, "box": [1.0, 2.0, inf, 3.0]}]), "not_finite"),
        (changed(results={"s": [[-inf]]}), "not_finite"),
        (changed(unknown={"of": {"a": {"newer": nan}}}), "not_finite"),
        (changed(id=frame_id("default", "lobby", "elsewhere")), "wrong_id"),
        (changed(feed="../../etc"), "wrong_name"),
        (changed(tenant="a/b"), "wrong_name"),
        (changed(embeddings=[{"name": "semantic", "model": "m", "dimension": 3, "vector": b"\0" * 8}]), "wrong_vector"),
        (
            changed(embeddings=[{"name": "semantic", "model": "m", "dimension": 1, "vector": b"\0\0\xc0\x7f"}]),
            "not_finite",
        ),
    ],
)
def test_what_cannot_be_read_is_dead_with_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(Undecodable) as refused:
        codec.decode_frame(value, {})
    assert refused.value.reason == reason


def test_nesting_in_results_is_capped_before_the_interpreter_is() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(Undecodable) as refused:
        codec.decode_frame(changed(results={"s": deep}), {})
    assert refused.value.reason == "too_deep"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"content-type": b"text/html"}, "unknown_content_type"),
        ({"content-type": b"\xff"}, "wrong_header"),
        ({"ce_specversion": b"0.3"}, "wrong_header"),
        ({"ce_type": b"com.example.other.v1"}, "wrong_header"),
        ({"ce_type": b"sightline.frame.raw.v1", "content-type": b"application/json"}, "malformed"),
    ],
)
def test_headers_that_are_not_ours(headers: dict[str, bytes], reason: str) -> None:
    with pytest.raises(Undecodable) as refused:
        codec.decode_frame(codec.encode_frame(raw_event()), headers)
    assert refused.value.reason == reason


def test_a_newer_sightline_s_record_stops_even_where_its_types_are_others() -> None:
    with pytest.raises(NewerMajor, match="version 2"):
        codec.decode_frame(changed(version=2, detections="changed meaning"), frame_headers(raw_event(), RAW_TYPE))
    with pytest.raises(NewerMajor, match="version 3"):
        codec.decode_frame(b"\xc1", {"ce_type": b"sightline.frame.segment.v3"})
    with pytest.raises(NewerMajor):
        codec.decode_observed(b'{"version": 2}', {"ce_type": OBSERVED_TYPE.encode()})


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (PNG, {"ce_type": b"sightline.frame.raw.v2", "content-type": b"image/png"}),
        (PNG, {"ce_type": b"sightline.frame.segment.v2", "content-type": b"Image/PNG; q=1"}),
        (PNG, {"ce_type": b"sightline.frame.raw.v2"}),
        (b'{"version": 2}', {"ce_type": b"sightline.frame.raw.v2", "content-type": b"application/json"}),
        (b'{"version": 2}', {"content-type": b"application/json"}),
        (b"\x80", {"ce_type": b"sightline.weather.v2", "content-type": b"application/msgpack"}),
    ],
)
def test_an_unknown_version_that_others_may_write_is_dead(value: bytes, headers: dict[str, bytes]) -> None:
    with pytest.raises(Undecodable, match="version 2, this Sightline reads version 1") as refused:
        codec.decode_frame(value, picture_headers("/cams/lobby", "17", content_type="image/png") | headers)
    assert refused.value.reason == "unknown_version"


def newer(event: FrameEvent) -> dict[str, Any]:
    """`event` as a newer minor version writes it: one unknown field at every level."""
    raw = as_written(event)
    raw["weather"] = {"sky": ["clear"]}
    raw["image"]["exif"] = {"iso": 100}
    raw["detections"][0]["depth_metres"] = 1.5
    raw["regions"][0]["mask"]["precision"] = 8
    raw["regions"][0]["embeddings"][0]["fit"] = "pad"
    raw["trace"][0]["watts"] = 3.5
    return raw


def test_unknown_fields_survive_a_segment_at_every_level() -> None:
    raw = newer(full_event())
    decoded = codec.decode_frame(msgspec.msgpack.encode(raw), {})
    assert decoded.event == full_event()
    assert msgspec.msgpack.decode(codec.encode_frame(decoded.event, extra=decoded.extra)) == raw


def test_unknown_fields_stay_with_their_element_when_stages_change_the_list() -> None:
    decoded = codec.decode_frame(msgspec.msgpack.encode(newer(full_event())), {})
    old = decoded.event.detections[0]
    new = Detection(label="square", confidence=0.8, box=BOX)
    event = replace(
        decoded.event,
        detections=(new, replace(old, track="8")),
        trace=(*decoded.event.trace, TraceEntry(stage="track", worker="w1")),
        regions=(),
    )
    written = msgspec.msgpack.decode(codec.encode_frame(event, extra=decoded.extra))
    assert ["depth_metres" in detection for detection in written["detections"]] == [False, True]
    assert ["watts" in entry for entry in written["trace"]] == [True, False]
    assert "regions" not in written


def test_the_same_element_twice_keeps_its_own_unknown_field() -> None:
    raw = as_written(replace(raw_event(), detections=(Detection(label="x", confidence=0.5, box=BOX),) * 3))
    raw["detections"][2]["depth_metres"] = 2.0
    decoded = codec.decode_frame(msgspec.msgpack.encode(raw), {})
    assert msgspec.msgpack.decode(codec.encode_frame(decoded.event, extra=decoded.extra)) == raw


def test_a_known_field_is_never_overwritten_by_what_was_unknown() -> None:
    written = codec.encode_frame(raw_event(), extra={"feed": "forged", "new": 1})
    assert codec.decode_frame(written, {}).event.feed == "lobby"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (replace(raw_event(), detections=(Detection(label="x", confidence=nan, box=BOX),)), "not_finite"),
        (replace(raw_event(), results={"s": {"mean": inf}}), "not_finite"),
        (replace(raw_event(), results={"s": object()}), "wrong_type"),
        (replace(raw_event(), embeddings=(replace(embedding(), dimension=5),)), "wrong_vector"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_no_reader_would_take_is_not_written(event: FrameEvent, reason: str, *, as_json: bool) -> None:
    with pytest.raises(Unencodable) as refused:
        codec.encode_frame(event, as_json=as_json)
    assert refused.value.reason == reason


class Counted(msgspec.Struct):
    people: int


def test_results_fit_the_schema_that_their_stage_registered() -> None:
    results.register("count_heads", Counted)
    results.register("count_heads", Counted)
    with pytest.raises(ValueError, match="already"):
        results.register("count_heads", dict)
    fits = codec.encode_frame(replace(raw_event(), results={"count_heads": Counted(people=2)}))
    assert codec.decode_frame(fits, {}).event.results == {"count_heads": {"people": 2}}
    with pytest.raises(Undecodable) as refused:
        codec.decode_frame(changed(results={"count_heads": {"people": "two"}}), {})
    assert refused.value.reason == "wrong_result"


def test_a_plain_picture_of_another_producer() -> None:
    headers = picture_headers("https://cams.example/site/lobby", "17", content_type="image/png", captured=NOW)
    decoded = codec.decode_frame(PNG, headers, appended_seconds=1_000.0)
    event = decoded.event
    assert (event.feed, event.tenant, event.kind, event.captured) == ("lobby", "default", "still", NOW)
    assert event.id == frame_id("default", "lobby", produced_position("https://cams.example/site/lobby", "17"))
    assert event.ingested == datetime.fromtimestamp(1_000, UTC)
    assert event.image == ImageRef(format="png", sha256=event.image.sha256, size_bytes=len(PNG))
    assert decoded.picture == PNG


@pytest.mark.parametrize("source", ["/cams/北门-1", "/cams/%E5%8C%97%E9%97%A8-1", "/cams/%e5%8c%97%e9%97%a8-1/"])
def test_a_producers_feed_may_be_of_any_script(source: str) -> None:
    event = codec.decode_frame(PNG, picture_headers(source, "17", content_type="image/png")).event
    assert event.feed == "北门-1"
    sent = frame_headers(event, RAW_TYPE)
    assert sent["ce_source"] == b"/default/%E5%8C%97%E9%97%A8-1"
    assert feed_of_source(sent["ce_source"].decode()) == event.feed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ce_source": b"/cams/a%2Fb"}, "wrong_name"),
        ({"ce_source": b""}, "missing_header"),
        ({"ce_id": b""}, "missing_header"),
        ({"ce_id": b"x" * 5_000}, "wrong_header"),
        ({"ce_id": b"a\nb"}, "wrong_header"),
        ({"ce_source": b"/cams/Lobby 1"}, "wrong_name"),
        ({"ce_source": b"/"}, "wrong_name"),
        ({"ce_time": b"yesterday"}, "wrong_header"),
        ({"ce_time": b"2026-11-21T08:00:00"}, "wrong_header"),
        ({"ce_time": b"0001-01-01T00:00:00+14:00"}, "wrong_header"),
        ({"ce_time": b"9999-12-31T23:59:59-12:00"}, "wrong_header"),
        ({"ce_kind": b"video"}, "wrong_header"),
        ({"ce_tenant": b"a/b"}, "wrong_name"),
    ],
)
def test_a_plain_picture_with_wrong_headers_is_dead(change: dict[str, bytes], reason: str) -> None:
    headers = picture_headers("/cams/lobby", "17", content_type="image/jpeg") | change
    with pytest.raises(Undecodable) as refused:
        codec.decode_frame(PNG, headers)
    assert refused.value.reason == reason


@pytest.mark.parametrize("content_type", [b"image/png", b"IMAGE/PNG", b' Image/Png ; name="a;b"', b"image/jpg"])
def test_media_types_are_read_without_regard_to_case_and_parameters(content_type: bytes) -> None:
    headers = picture_headers("/cams/lobby", "17", content_type="image/png") | {"content-type": content_type}
    assert codec.decode_frame(PNG, headers).picture == PNG
    as_json = codec.encode_frame(raw_event(), as_json=True)
    assert codec.decode_frame(as_json, {"content-type": b"Application/JSON; charset=utf-8"}).event.id == raw_event().id


@pytest.mark.parametrize("headers", [{}, {"content-type": b""}, {"content-type": b" ;q=1"}])
@pytest.mark.parametrize(("value", "reason"), [(PNG, "missing_header"), (b"\xc1", "malformed"), (b"{", "malformed")])
def test_a_missing_content_type_is_named(value: bytes, reason: str, headers: dict[str, bytes]) -> None:
    with pytest.raises(Undecodable, match="the record has no header content-type") as refused:
        codec.decode_frame(value, picture_headers("/cams/lobby", "17", content_type="") | headers)
    assert refused.value.reason == reason


@pytest.mark.parametrize("seconds", [-62135596800.001, -1.0, 0.0, 1.7e12, 1e300, float("inf"), float("nan")])
def test_a_timestamp_out_of_range_is_unknown(seconds: float) -> None:
    event = codec.decode_frame(PNG, picture_headers("/a/b", "1", content_type="image/png"), appended_seconds=seconds)
    assert event.event.ingested == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_content_type_alone_makes_no_picture() -> None:
    with pytest.raises(Undecodable) as refused:
        codec.decode_frame(b"GIF89a", picture_headers("/cams/lobby", "17", content_type="image/jpeg"))
    assert refused.value.reason == "not_a_picture"


def test_dead_letters_come_back_as_they_were() -> None:
    assert codec.decode_dead(codec.encode_dead(dead_letter()), {}) == dead_letter()


def test_observed_stays_under_a_kilobyte_without_losing_counts() -> None:
    labels = {f"label-{number}-{'x' * 40}": number for number in range(1, 200)}
    crowded = replace(observed(), reason="r" * 5_000, labels=labels, skipped={f"s{n}": "y" * 60 for n in range(20)})
    for record in (observed(), crowded, replace(observed(), labels=labels)):
        written = codec.encode_observed(record)
        assert len(written) < 1_000
        assert sum(codec.decode_observed(written, {}).labels.values()) == sum(record.labels.values())
    assert codec.decode_observed(codec.encode_observed(observed()), {}) == observed()
    with pytest.raises(Unencodable):
        codec.encode_observed(replace(observed(), luminance=nan))
