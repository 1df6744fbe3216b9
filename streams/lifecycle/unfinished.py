"""What the consumer groups of a deployment have not finished, where that needs a person.

Frames on topics that the present plan does not read; groups that hold records back and have no member; records that the
broker is about to drop although a group of the plan has not finished them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from schemas import topics
from streams.errors import Forbidden
from streams.plan import Plan
from streams.transport import Group, GroupPosition, Partition, TopicSpec, Transport

OWN = frozenset(topic.name for topic in topics.declared(partitions=1))
"""Topics of every deployment; those between segments are named after stages."""
ABSENT_SECONDS = 86_400.0
"""A group that holds records back is reported when it had no member for a day: nightly runs are no fault. Where the
log does not say when it had one, the age of its oldest record counts."""
EXPIRING_SHARE = 0.75
"""Of a topic's retention: with the default of seven days, two are left."""


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Unfinished records on a topic that the plan does not read; `groups` are those that have not finished them."""

    topic: str
    records: int
    groups: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        frames = _counted(self.records, "frame is", "frames are")
        return (
            f"{frames} left on {self.topic}, which this plan does not read: run `sightline topics finish {self.topic}`"
        )


@dataclass(frozen=True, slots=True)
class AbsentGroup:
    """A group without members; `seconds` is the age of the oldest record that it holds back."""

    name: str
    segment: int | None
    """Of the present plan, counted from 1; None: the group is not of it."""
    records: int
    seconds: float

    @property
    def warning(self) -> str:
        held = f"{_counted(self.records, 'record', 'records')}, the oldest for {_duration(self.seconds)}"
        if self.segment is not None:
            command = "sightline work" if self.segment == 1 else f"sightline work --segment {self.segment}"
            return f"group {self.name} of this plan has no worker and {held} to do: run `{command}`"
        return (
            f"group {self.name} has no worker, is not of this plan, and holds {held}: start its worker, or run"
            f" `sightline groups give-up {self.name}`"
        )


@dataclass(frozen=True, slots=True)
class Expiring:
    """Unfinished records that the broker drops when they are older than `retention_seconds`."""

    group: str
    topic: str
    seconds: float
    retention_seconds: float

    @property
    def share(self) -> float:
        return self.seconds / self.retention_seconds

    @property
    def warning(self) -> str:
        return (
            f"the oldest record of {self.topic} that group {self.group} has not finished is {_duration(self.seconds)}"
            f" old, and the broker drops it after {_duration(self.retention_seconds)}: start more workers, or raise"
            " retention and run `sightline topics apply` (docs/runbook.md, Unfinished records)"
        )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """`oldest` has every group's share of retention that is used up, where the broker drops unfinished records."""

    left_over: Sequence[LeftOver] = ()
    absent: Sequence[AbsentGroup] = ()
    oldest: Sequence[Expiring] = ()

    @property
    def warnings(self) -> list[str]:
        expiring = [entry.warning for entry in self.oldest if entry.share >= EXPIRING_SHARE]
        left_over = [entry.warning for entry in self.left_over]
        return [*left_over, *(entry.warning for entry in self.absent), *expiring]


async def find_unfinished(transport: Transport, plan: Plan, group_prefix: str, now: float) -> Unfinished:
    """`now` is seconds since the epoch. Raises Unavailable, Forbidden."""
    specs, readers = await transport.topics(), plan.readers(group_prefix)
    groups = await known_groups(transport, specs, readers)
    left_over = await _left_over(transport, specs, plan.topics(), groups)
    topics_left = {entry.topic for entry in left_over}
    if transport.drops_unfinished:  # what other programs have not read of the results is not held back for them
        groups = {name: _working(group) for name, group in groups.items()}
    absent = [
        found
        for name, group in sorted(groups.items())
        if (found := _absent(name, group, specs, topics_left, readers, now))
    ]
    return Unfinished(left_over, absent, _oldest(groups, readers, specs, now) if transport.drops_unfinished else ())


async def known_groups(transport: Transport, specs: Collection[str], readers: Mapping[str, str]) -> dict[str, Group]:
    """The groups that have read topics of this deployment, and those of the plan, whether or not they ever came.

    Topics of other programs on the same cluster are left out, and groups that read no other; and topics that are not
    among `specs`, because they were created since.
    """
    groups = {}
    for name, group in (await transport.groups()).items():
        own = {p: position for p, position in group.positions.items() if _is_own(p.topic) and p.topic in specs}
        if own:
            groups[name] = replace(group, positions=own)
    for name, topic in readers.items():
        if topic in specs:
            groups[name] = await _with_topic(transport, groups.get(name, Group(0, {})), topic)
    return groups


def _working(group: Group) -> Group:
    positions = {
        partition: position for partition, position in group.positions.items() if carries_work(partition.topic)
    }
    return replace(group, positions=positions)


def _is_own(topic: str) -> bool:
    return topic in OWN or topics.is_between(topic)


def carries_work(topic: str) -> bool:
    """Whether frames on it wait for a segment of this or another plan."""
    return topic == topics.RAW or topics.is_between(topic)


async def _with_topic(transport: Transport, group: Group, topic: str) -> Group:
    """With the partitions of `topic` that the group has never committed: all their records are to be done."""
    positions = dict(group.positions)
    for partition, (first, end) in (await transport.ends(topic)).items():
        if partition not in positions and first < end:
            positions[partition] = await _untouched(transport, partition, first, end)
    return Group(group.members, positions, group.last_seen)


async def _untouched(transport: Transport, partition: Partition, first: int, end: int) -> GroupPosition:
    """Of a group that never committed. Who may only write to a topic does not learn how old its records are."""
    try:
        page = await transport.read(partition, first, 1)
    except Forbidden:
        return GroupPosition(first, end - first)
    return GroupPosition(first, end - first if page else 0, oldest=page[0].timestamp if page else None)


async def _left_over(
    transport: Transport, specs: Iterable[str], read: Collection[str], groups: Mapping[str, Group]
) -> list[LeftOver]:
    found = [await left_on(transport, topic, groups) for topic in sorted(specs) if is_left_over(topic, read)]
    return [entry for entry in found if entry.records]


def is_left_over(topic: str, read: Collection[str]) -> bool:
    """Whether it is a topic between segments of a plan that is not the present one, whose topics are `read`."""
    return topics.is_between(topic) and topic not in read


async def left_on(transport: Transport, topic: str, groups: Mapping[str, Group]) -> LeftOver:
    """Records that some group which reads the topic has not finished; all of them, where no group reads it."""
    held: dict[Partition, int] = {}
    behind, known = [], False
    for name, group in sorted(groups.items()):
        own = {partition: position.lag for partition, position in group.positions.items() if partition.topic == topic}
        known = known or bool(own)
        behind += [name] if any(own.values()) else []
        held |= {partition: max(lag, held.get(partition, 0)) for partition, lag in own.items()}
    if not known:
        held = {partition: end - first for partition, (first, end) in (await transport.ends(topic)).items()}
    return LeftOver(topic, sum(held.values()), tuple(behind))


def _absent(
    name: str,
    group: Group,
    specs: Mapping[str, TopicSpec],
    topics_left: Collection[str],
    readers: Collection[str],
    now: float,
) -> AbsentGroup | None:
    """Compacted topics are read from their beginning and hold nothing back; left-over ones are reported by topic."""
    held = [
        position
        for partition, position in group.positions.items()
        if position.lag and partition.topic not in topics_left and not specs[partition.topic].compacted
    ]
    age = max((now - position.oldest for position in held if position.oldest is not None), default=0.0)
    unseen = age if group.last_seen is None else now - group.last_seen
    if group.members or not held or unseen < ABSENT_SECONDS:
        return None
    segment = list(readers).index(name) + 1 if name in readers else None
    return AbsentGroup(name, segment, sum(position.lag for position in held), age)


def _oldest(
    groups: Mapping[str, Group], readers: Mapping[str, str], specs: Mapping[str, TopicSpec], now: float
) -> list[Expiring]:
    found = []
    for name, topic in readers.items():
        retention = specs[topic].retention_seconds if topic in specs else None
        positions = groups[name].positions.items() if name in groups else ()
        ages = [
            now - position.oldest for partition, position in positions if partition.topic == topic and position.oldest
        ]
        if retention is not None:
            found.append(Expiring(name, topic, max(ages, default=0.0), retention))
    return found


def _counted(number: int, single: str, several: str) -> str:
    return f"{number} {single if number == 1 else several}"


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
