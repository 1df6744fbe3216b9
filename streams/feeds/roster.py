"""The feeds that are read: the records of their compacted topic, and all feeds by key."""

from __future__ import annotations

import structlog

from schemas import codec
from schemas.cloudevents import FEED_TYPE, headers
from schemas.errors import Undecodable
from schemas.events import Feed
from schemas.identity import partition_key
from schemas.topics import FEEDS
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Record, Transport

log = structlog.get_logger()
_PAGE_RECORDS = 1_000


def feed_key(feed: Feed) -> bytes:
    return partition_key(feed.tenant, feed.feed)


def feed_record(feed: Feed) -> NewRecord:
    """The record that adds or changes a feed."""
    record_headers = headers(FEED_TYPE, tenant=feed.tenant, feed=feed.feed, frame=feed.feed, time=feed.changed)
    return NewRecord(FEEDS, feed_key(feed), codec.encode_feed(feed), record_headers)


def removal_record(tenant: str, feed: str) -> NewRecord:
    """The tombstone that removes a feed."""
    return NewRecord(FEEDS, partition_key(tenant, feed), None)


def decode_feed_record(record: Record) -> Feed | None:
    """The feed of a record; None for a tombstone and for a record that cannot be decoded. Raises NewerMajor."""
    if record.value is None:
        return None
    try:
        return codec.decode_feed(record.value, record.headers)
    except Undecodable as error:
        log.warning("feed_not_readable", key=record.key.decode(errors="replace")[:130], reason=str(error))
        return None


async def all_feeds(transport: Transport) -> dict[bytes, Feed]:
    """Every feed by key, as of now. Raises Unavailable, PlanError (the topic does not exist)."""
    feeds: dict[bytes, Feed] = {}
    async for record in read_topic(transport, FEEDS, page_records=_PAGE_RECORDS):
        feed = decode_feed_record(record)
        if feed is None:
            feeds.pop(record.key, None)
        else:
            feeds[record.key] = feed
    return feeds
