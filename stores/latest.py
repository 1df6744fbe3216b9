"""Pages of points by descending time, equal times by id, on an index that orders by a field and leaves ties open.

An index's own ordered scroll has no cursor, and cuts a group of equal times anywhere. So the last group of a page is
read again in id order, and a page that begins within a group reads the rest of it in id order first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from stores.errors import Refused
from stores.index import Filter, Hit, Match

SEPARATOR = "_"


class Ordered(Protocol):
    """Points by descending time, equal ones in any order."""

    def __call__(self, where: Filter, limit: int) -> Awaitable[Sequence[Hit]]: ...


class Scroll(Protocol):
    """A page in id order, from the id `after` on."""

    def __call__(
        self, *, where: Filter | None, limit: int, after: str | None
    ) -> Awaitable[tuple[Sequence[Hit], str | None]]: ...


async def latest_page(
    ordered: Ordered, scroll: Scroll, field: str, where: Filter | None, limit: int, after: str | None
) -> tuple[list[Hit], str | None]:
    """As `Index.latest`. The cursor names the first point of the next page, which need not exist any more."""
    where, wanted = where or Filter(), limit + 1
    hits: list[Hit] = []
    if after is not None:
        moment, first = _parsed(after)
        hits += (await scroll(where=_same(where, field, moment), limit=wanted, after=first))[0]
        where = _and(where, Match(field=field, below=_text(moment)))
    if len(hits) < wanted:
        hits += await _groups(ordered, scroll, field, where, wanted - len(hits))
    return hits[:limit], cursor_at(hits[limit], field) if len(hits) > limit else None


async def _groups(ordered: Ordered, scroll: Scroll, field: str, where: Filter, limit: int) -> list[Hit]:
    """The first `limit` points, sorted."""
    hits = list(await ordered(where, limit))
    if len(hits) == limit:
        last = min(instant(hit, field) for hit in hits)
        whole = [hit for hit in hits if instant(hit, field) > last]
        cut, _ = await scroll(where=_same(where, field, last), limit=limit - len(whole), after=None)
        hits = [*whole, *cut]
    return sorted(hits, key=lambda hit: (-_microseconds(instant(hit, field)), hit.id))


def instant(hit: Hit, field: str) -> datetime:
    """The time in `field`, in UTC. Raises Refused for what is no time with a zone."""
    try:
        moment = datetime.fromisoformat(hit.payload[field])
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refused(f"point {hit.id} has no time in {field!r}: {error}") from error


def _microseconds(moment: datetime) -> int:
    passed = moment - datetime.min.replace(tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _same(where: Filter, field: str, moment: datetime) -> Filter:
    return _and(where, Match(field=field, at_least=_text(moment), at_most=_text(moment)))


def _and(where: Filter, match: Match) -> Filter:
    return Filter(must=(*where.must, match), must_not=where.must_not)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def cursor_at(hit: Hit, field: str) -> str:
    """The cursor of the page that begins with `hit`."""
    return f"{_text(instant(hit, field))}{SEPARATOR}{hit.id}"


def _parsed(cursor: str) -> tuple[datetime, str]:
    text, _, point = cursor.partition(SEPARATOR)
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        return moment, str(UUID(point))
    except (ValueError, OverflowError) as error:
        raise Refused(f"{cursor!r} is no cursor of this index") from error
