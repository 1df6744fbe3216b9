"""The published contracts: `python -m schemas.generate` writes JSON Schemas and the AsyncAPI document beside this file.

A test fails when the files and the code differ. JSON Schema 2020-12, AsyncAPI 3.0.0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from schemas import cloudevents
from schemas.events import (
    MAJOR_VERSION,
    Accepted,
    DeadLetter,
    Deletion,
    Event,
    Feed,
    FrameEvent,
    Observed,
)
from schemas.pictures import FORMATS
from schemas.retention import Kept, Trimmed
from schemas.topics import (
    ACCEPTED,
    BATCH_OVERHEAD_BYTES,
    DEAD,
    DEFAULT_PARTITIONS,
    DELETIONS,
    ENRICHED,
    FEEDS,
    KEPT,
    OBSERVED,
    RAW,
    TRIMMED,
    Topic,
    between,
    declared,
)

FOLDER = Path(__file__).parent
EVENTS: Mapping[str, tuple[type[Event], tuple[str, ...]]] = {
    "frame": (FrameEvent, (cloudevents.RAW_TYPE, cloudevents.SEGMENT_TYPE, cloudevents.ENRICHED_TYPE)),
    "dead": (DeadLetter, (cloudevents.DEAD_TYPE,)),
    "observed": (Observed, (cloudevents.OBSERVED_TYPE,)),
    "deletion": (Deletion, (cloudevents.DELETION_TYPE,)),
    "kept": (Kept, (cloudevents.KEPT_TYPE,)),
    "trimmed": (Trimmed, (cloudevents.TRIMMED_TYPE,)),
    "accepted": (Accepted, (cloudevents.ACCEPTED_TYPE,)),
    "feed": (Feed, (cloudevents.FEED_TYPE,)),
}
"""Schema name → event and the CloudEvents types that carry it."""
_SEGMENTS = between("STAGE")
_READ_ONLY = frozenset({"raw_json", "picture"})
"""Messages of other producers, which Sightline reads and never writes."""
_MSGPACK_TEXT = "In msgpack a `date-time` is a timestamp (extension type -1), and `base64` content is binary."
MESSAGES: Mapping[str, tuple[str, str, str]] = {
    "raw": ("frame", cloudevents.RAW_TYPE, cloudevents.MSGPACK),
    "raw_json": ("frame", cloudevents.RAW_TYPE, cloudevents.JSON),
    "segment": ("frame", cloudevents.SEGMENT_TYPE, cloudevents.MSGPACK),
    "enriched": ("frame", cloudevents.ENRICHED_TYPE, cloudevents.JSON),
    "dead": ("dead", cloudevents.DEAD_TYPE, cloudevents.MSGPACK),
    "observed": ("observed", cloudevents.OBSERVED_TYPE, cloudevents.JSON),
    "deletion": ("deletion", cloudevents.DELETION_TYPE, cloudevents.MSGPACK),
    "kept": ("kept", cloudevents.KEPT_TYPE, cloudevents.MSGPACK),
    "trimmed": ("trimmed", cloudevents.TRIMMED_TYPE, cloudevents.MSGPACK),
    "accepted": ("accepted", cloudevents.ACCEPTED_TYPE, cloudevents.MSGPACK),
    "feed": ("feed", cloudevents.FEED_TYPE, cloudevents.MSGPACK),
}
"""Message → its schema, CloudEvents type and content type. A plain picture is one more."""
_PURPOSES = {
    RAW: "Accepted frames of every source; other producers may put plain pictures here.",
    _SEGMENTS: "Between two segments; STAGE is the first new stage of the segment behind it.",
    ENRICHED: "Frames that have passed every stage, for any subscriber: JSON, never pixels.",
    DEAD: "Records that could not be processed, with the reason and the original record.",
    OBSERVED: "One small record per terminal state, for analytics.",
    DELETIONS: "Frames that every sink, replay and reprocess must erase.",
    KEPT: "Frames whose pictures and points retention never removes.",
    TRIMMED: "Up to when retention has removed each feed's pictures and points.",
    FEEDS: "Sources that are read while their record exists; a tombstone ends one.",
    ACCEPTED: "Ids of the frames that sources have already put on frames.raw.",
}
_HEADER_TEXT = {
    "ce_specversion": "1.0",
    "ce_type": "The event type; its last part is the major version.",
    "ce_source": "/TENANT/FEED, percent-encoded; of other producers any URI reference that ends in the feed's segment.",
    "ce_id": "UUIDv5 of frame, event type and model set; with ce_source the position of a plain picture.",
    "ce_time": "RFC 3339. Of a plain picture: when it was captured.",
    "ce_subject": "The frame's id.",
    "content-type": "application/msgpack, application/json or image/*.",
    "ce_kind": "Plain pictures only: still (default; any key) or frame (key TENANT/FEED).",
    "ce_tenant": "Plain pictures only: the tenant, default `default`.",
}


def file_name(name: str) -> str:
    """The file of an event's JSON Schema."""
    return f"{name}.v{MAJOR_VERSION}.json"


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one event, its parts under `$defs`."""
    event, _ = EVENTS[name]
    (_,), parts = msgspec.json.schema_components((event,), ref_template="#/$defs/{name}")
    top = parts.pop(event.__name__)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sightline:{name}:v{MAJOR_VERSION}",
        **top,
        "$defs": dict(sorted(parts.items())),
    }
    plain: dict[str, Any] = json.loads(json.dumps(schema))
    return plain


def asyncapi() -> dict[str, Any]:
    """Every topic as a channel, with its messages and whether Sightline sends or receives them."""
    topics = declared(partitions=DEFAULT_PARTITIONS, between_stages=("STAGE",))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sightline",
            "version": f"{MAJOR_VERSION}.0.0",
            "description": "Image feeds turned into enriched events. Delivery is at least once, ids are deterministic. "
            "Partitions and retention are those of the default configuration; `sightline topics create` makes them.",
            "license": {"name": "AGPL-3.0-or-later"},
        },
        "defaultContentType": cloudevents.MSGPACK,
        "channels": {_channel_name(topic): _channel(topic) for topic in topics},
        "operations": dict(pair for topic in topics for pair in _operations(topic)),
        "components": {
            "messages": {name: _message(*carried) for name, carried in MESSAGES.items()} | {"picture": _picture()},
            "schemas": {"headers": _headers(("ce_specversion", "ce_type", "ce_source", "ce_id"))},
        },
    }


def _channel_name(topic: Topic) -> str:
    return topic.name.replace(".", "_")


def _channel(topic: Topic) -> dict[str, Any]:
    kafka = {
        "cleanup.policy": ["compact" if topic.compacted else "delete"],
        "retention.ms": _limit(None if topic.retention_seconds is None else round(1000 * topic.retention_seconds)),
        "retention.bytes": _limit(topic.retention_bytes),
        "max.message.bytes": topic.max_record_bytes + BATCH_OVERHEAD_BYTES,
    }
    binding = {"topic": topic.name, "partitions": topic.partitions, "topicConfiguration": kafka}
    address = topic.name.replace("STAGE", "{stage}")
    parameters = {"stage": {"description": "First new stage of the segment behind"}} if "STAGE" in topic.name else None
    return {
        "address": address,
        "description": _PURPOSES[topic.name],
        **({"parameters": parameters} if parameters else {}),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {"kafka": {**binding, "bindingVersion": "0.5.0"}},
    }


def _limit(value: int | None) -> int:
    """As Kafka writes it: -1 is none."""
    return -1 if value is None else value


def _messages(topic: Topic) -> list[str]:
    names = [name for name, (_, event_type, _) in MESSAGES.items() if event_type == topic.event_type]
    return names + (["picture"] if topic.name == RAW else [])


def _operations(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    """Sightline writes and reads every topic; what it reads of other producers it does not write."""
    sent = [name for name in _messages(topic) if name not in _READ_ONLY]
    return [_operation("send", topic, sent), _operation("receive", topic, _messages(topic))]


def _operation(action: str, topic: Topic, messages: list[str]) -> tuple[str, dict[str, Any]]:
    channel = f"#/channels/{_channel_name(topic)}"
    references = [{"$ref": f"{channel}/messages/{name}"} for name in messages]
    return f"{action}_{_channel_name(topic)}", {"action": action, "channel": {"$ref": channel}, "messages": references}


def _message(schema: str, event_type: str, content_type: str) -> dict[str, Any]:
    headers = {"ce_type": {"const": event_type}, "content-type": {"const": content_type}}
    described = {"description": _MSGPACK_TEXT} if content_type == cloudevents.MSGPACK else {}
    return {
        "name": event_type,
        "title": EVENTS[schema][0].__name__,
        "summary": f"CloudEvents type {event_type}.",
        **described,
        "contentType": content_type,
        "headers": {"allOf": [{"$ref": "#/components/schemas/headers"}, {"type": "object", "properties": headers}]},
        "payload": {
            "schemaFormat": "application/schema+json;version=2020-12",
            "schema": {"$ref": f"./{file_name(schema)}"},
        },
    }


def _picture() -> dict[str, Any]:
    return {
        "name": "picture",
        "title": "A plain picture",
        "summary": f"{FORMATS} as the value itself; a record without ce_source or ce_id is dead.",
        "contentType": "image/*",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"type": "string", "format": "binary"},
    }


def _headers(required: tuple[str, ...]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in _HEADER_TEXT.items()}
    return {"type": "object", "required": list(required), "properties": properties}


def files() -> dict[str, str]:
    """File name → content of every published file."""
    documents = {file_name(name): json_schema(name) for name in EVENTS} | {"asyncapi.json": asyncapi()}
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents.items()}


def main() -> None:
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
