"""The codec against arbitrary bytes: every record is an event, dead, or of a newer version."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.errors import NewerMajor, Undecodable, Unencodable
from tests.support.events import full_event, observed, raw_event

FULL = msgspec.msgpack.decode(codec.encode_frame(full_event()))
READERS = (
    codec.decode_frame,
    codec.decode_dead,
    codec.decode_observed,
    codec.decode_deletion,
    codec.decode_accepted,
)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
finite = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
unknown = st.recursive(
    finite | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
new_names = st.text(min_size=1).filter(lambda name: name not in FULL)
headers = st.dictionaries(
    st.sampled_from(["content-type", "ce_type", "ce_source", "ce_id", "ce_time", "ce_kind", "ce_specversion"]),
    st.binary(max_size=12)
    | st.sampled_from([b"image/png", b"application/json", b"application/msgpack", b"1.0", RAW_TYPE.encode(), b"/a/b"]),
)


def read_all(value: bytes, under: dict[str, bytes]) -> None:
    for reader in READERS:
        with suppress(Undecodable, NewerMajor):
            reader(value, under)


@given(st.binary(max_size=400), headers)
def test_any_bytes_under_any_headers(value: bytes, under: dict[str, bytes]) -> None:
    read_all(value, under)


@given(st.data())
@settings(max_examples=200)
def test_our_own_bytes_damaged_anywhere(data: st.DataObject) -> None:
    written = bytearray(codec.encode_frame(full_event(), as_json=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    read_all(bytes(written[: data.draw(st.integers(0, len(written)))]), {})


@given(st.sampled_from(sorted(FULL)), values)
def test_any_value_in_any_field(name: str, value: Any) -> None:
    """What is read is whole: it can be written again, to both formats, and holds only finite numbers."""
    try:
        decoded = codec.decode_frame(msgspec.msgpack.encode(FULL | {name: value}), {})
    except (Undecodable, NewerMajor):
        return
    for as_json in (False, True):
        again = codec.decode_frame(codec.encode_frame(decoded.event, extra=decoded.extra, as_json=as_json), {})
        assert again.event.id == decoded.event.id
    assert all(math.isfinite(number) for detection in decoded.event.detections for number in detection.box)


@given(st.dictionaries(new_names, unknown, max_size=3), st.dictionaries(new_names, unknown, max_size=3), st.booleans())
def test_unknown_fields_survive(top: dict[str, Any], below: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001
    raw = FULL | top
    raw["captions"] = [{**below, **FULL["captions"][0]}]
    written = (msgspec.json if as_json else msgspec.msgpack).encode(raw)
    decoded = codec.decode_frame(written, {})
    again = codec.encode_frame(decoded.event, extra=decoded.extra)
    assert codec.decode_frame(again, {}) == decoded
    rewritten = msgspec.msgpack.decode(again)
    assert {name: rewritten[name] for name in top} == top
    assert {name: rewritten["captions"][0][name] for name in {**below, **FULL["captions"][0]}} == {
        **below,
        **FULL["captions"][0],
    }


@given(values)
def test_results_of_any_shape_are_written_whole_or_not_at_all(result: Any) -> None:
    event = msgspec.structs.replace(raw_event(), results={"stage": result})
    try:
        written = codec.encode_frame(event)
    except Unencodable:
        return
    assert codec.decode_frame(written, frame_headers(event, RAW_TYPE)).event == event


@given(
    st.dictionaries(st.text(max_size=80), st.integers(1, 10**6), max_size=60),
    st.dictionaries(st.text(max_size=80), st.text(max_size=80), max_size=20),
    st.text(max_size=300),
)
def test_observed_is_under_a_kilobyte_and_counts_everything(
    labels: dict[str, int], skipped: dict[str, str], reason: str
) -> None:
    record = msgspec.structs.replace(observed(), labels=labels, skipped=skipped, reason=reason)
    written = codec.encode_observed(record)
    assert len(written) < 1_024
    assert sum(codec.decode_observed(written, {}).labels.values()) == sum(labels.values())
