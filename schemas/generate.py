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
from schemas.events import MAJOR_VERSION, Accepted, DeadLetter, Deletion, Event, Feed, FrameEvent, Observed
from schemas.topics import ACCEPTED, DEAD, DELETIONS, ENRICHED, FEEDS, OBSERVED, RAW, Topic, between, declared

FOLDER = Path(__file__).parent
EVENTS: Mapping[str, tuple[type[Event], tuple[str, ...]]] = {
    "frame": (FrameEvent, (cloudevents.RAW_TYPE, cloudevents.SEGMENT_TYPE, cloudevents.ENRICHED_TYPE)),
    "dead": (DeadLetter, (cloudevents.DEAD_TYPE,)),
    "observed": (Observed, (cloudevents.OBSERVED_TYPE,)),
    "deletion": (Deletion, (cloudevents.DELETION_TYPE,)),
    "accepted": (Accepted, (cloudevents.ACCEPTED_TYPE,)),
    "feed": (Feed, (cloudevents.FEED_TYPE,)),
}
"""Schema name → event and the CloudEvents types that carry it."""
_PURPOSES = {
    RAW: "Accepted frames of every source; other producers may put plain pictures here.",
    between("STAGE"): "Between two segments; STAGE is the first new stage of the segment behind it.",
    ENRICHED: "Frames that have passed every stage, for any subscriber: JSON, never pixels.",
    DEAD: "Records that could not be processed, with the reason and the original record.",
    OBSERVED: "One small record per terminal state, for analytics.",
    DELETIONS: "Frames that every sink, replay and reprocess must erase.",
    FEEDS: "Sources that are read while their record exists; a tombstone ends one.",
    ACCEPTED: "Ids of the frames that sources have already put on frames.raw.",
}
_HEADER_TEXT = {
    "ce_specversion": "1.0",
    "ce_type": "The event type; its last part is the major version.",
    "ce_source": "/TENANT/FEED; of other producers any URI reference whose last path segment is the feed.",
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
    topics = declared(partitions=12, between_stages=("STAGE",))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sightline",
            "version": f"{MAJOR_VERSION}.0.0",
            "description": "Image feeds turned into enriched events. Delivery is at least once, ids are deterministic.",
            "license": {"name": "AGPL-3.0-or-later"},
        },
        "defaultContentType": cloudevents.MSGPACK,
        "channels": {_channel_name(topic): _channel(topic) for topic in topics},
        "operations": dict(pair for topic in topics for pair in _operations(topic)),
        "components": {
            "messages": {name: _message(name) for name in EVENTS} | {"picture": _picture()},
            "schemas": {"headers": _headers(("ce_specversion", "ce_type", "ce_source", "ce_id"))},
        },
    }


def _channel_name(topic: Topic) -> str:
    return topic.name.replace(".", "_")


def _channel(topic: Topic) -> dict[str, Any]:
    names = [name for name, (_, types) in EVENTS.items() if topic.event_type in types]
    names += ["picture"] if topic.name == RAW else []
    kafka = {
        "cleanup.policy": ["compact" if topic.compacted else "delete"],
        "max.message.bytes": topic.max_record_bytes,
    }
    address = topic.name.replace("STAGE", "{stage}")
    parameters = {"stage": {"description": "First new stage of the segment behind"}} if "STAGE" in topic.name else None
    return {
        "address": address,
        "description": _PURPOSES[topic.name],
        **({"parameters": parameters} if parameters else {}),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": kafka, "bindingVersion": "0.5.0"}},
    }


def _operations(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    name = _channel_name(topic)
    channel = {"$ref": f"#/channels/{name}"}
    read = topic.name in (RAW, between("STAGE"), DELETIONS, ACCEPTED)
    sends = [(f"send_{name}", {"action": "send", "channel": channel})]
    return sends + ([(f"receive_{name}", {"action": "receive", "channel": channel})] if read else [])


def _message(name: str) -> dict[str, Any]:
    event, types = EVENTS[name]
    content_type = cloudevents.JSON if name == "observed" else cloudevents.MSGPACK
    also = f" On {ENRICHED} as {cloudevents.JSON}." if name == "frame" else ""
    return {
        "name": name,
        "title": event.__name__,
        "summary": f"CloudEvents types: {', '.join(types)}.{also}",
        "contentType": content_type,
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {
            "schemaFormat": "application/schema+json;version=2020-12",
            "schema": {"$ref": f"./{file_name(name)}"},
        },
    }


def _picture() -> dict[str, Any]:
    return {
        "name": "picture",
        "title": "A plain picture",
        "summary": "JPEG, PNG or WebP as the value itself; a record without ce_source or ce_id is dead.",
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
