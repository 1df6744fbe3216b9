"""The feeds that are to be read, as the compacted topic has them: written, listed, and folded record by record."""

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


def key_of(feed: Feed) -> bytes:
    return partition_key(feed.tenant, feed.feed)


def written(feed: Feed) -> NewRecord:
    """The record that says: read this, so."""
    told = headers(FEED_TYPE, tenant=feed.tenant, feed=feed.feed, frame=feed.feed, time=feed.changed)
    return NewRecord(FEEDS, key_of(feed), codec.encode_feed(feed), told)


def removed(tenant: str, feed: str) -> NewRecord:
    return NewRecord(FEEDS, partition_key(tenant, feed), None)


def feed_in(record: Record) -> Feed | None:
    """What a record says; None where nothing is to be read, or the record cannot be. Raises NewerMajor."""
    if record.value is None:
        return None
    try:
        return codec.decode_feed(record.value, record.headers)
    except Undecodable as error:
        log.warning("feed_not_readable", key=record.key.decode(errors="replace")[:130], reason=str(error))
        return None


async def all_feeds(transport: Transport) -> dict[bytes, Feed]:
    """Every feed by key, as it is now. Raises Unavailable, PlanError (no such topic)."""
    feeds: dict[bytes, Feed] = {}
    async for record in read_topic(transport, FEEDS, page_records=_PAGE_RECORDS):
        feed = feed_in(record)
        if feed is None:
            feeds.pop(record.key, None)
        else:
            feeds[record.key] = feed
    return feeds
