"""The tenants whose frames are on a log: retention holds for all of them.

Other names in the blob store are not looked at: another deployment may keep its pictures in the same store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from schemas import points, topics
from schemas.identity import check_name
from stores.errors import StoreError
from streams.backends import Backends
from streams.errors import PlanError
from streams.topic_reader import TopicReader

NEWEST_RECORDS = 100
"""Events looked at per partition each time: a tenant that only other producers write for becomes known by them."""
SEVERAL = 1000


class Tenants:
    """`own` is the configured one."""

    def __init__(self, backends: Backends, own: str) -> None:
        self._backends, self._own = backends, own
        self._known = {own}
        self._accepted = TopicReader(backends.transport, topics.ACCEPTED)
        self._has_read_points = False

    async def others(self) -> Sequence[str]:
        """All but the own one that are known by now. Raises Unavailable."""
        transport = self._backends.transport
        try:
            async for record in self._accepted.new_records():
                self._note([_tenant_of(record.key)])
            for partition, (first, end) in (await transport.ends(topics.ENRICHED)).items():
                newest = await transport.read(partition, max(first, end - NEWEST_RECORDS), NEWEST_RECORDS)
                self._note(_tenant_of(record.key) for record in newest)
        except PlanError:
            pass  # a topic that does not exist names none
        if not self._has_read_points:
            with suppress(StoreError):  # then the next time; some collections count no tenants
                await self._read_points()
        return sorted(self._known - {self._own})

    async def _read_points(self) -> None:
        """Once: those that come later have events."""
        index = self._backends.index
        for name in await index.collections():
            if points.holds_frames(name):
                self._note(await index.facet(name, "tenant", limit=SEVERAL))
        self._has_read_points = True

    def _note(self, names: Iterable[str]) -> None:
        for name in set(names) - self._known:
            try:
                self._known.add(check_name("tenant", name))
            except ValueError:
                continue  # of a producer's own making: no blob can be its


def _tenant_of(key: bytes | None) -> str:
    """Of a key `TENANT/FEED…`."""
    return (key or b"").decode(errors="replace").partition("/")[0]


def owner_of(feed: str, own: str) -> tuple[str, str]:
    """Tenant and name of a feed as retention counts it: those of other tenants are `TENANT/FEED`."""
    tenant, _, name = feed.rpartition("/")
    return tenant or own, name
