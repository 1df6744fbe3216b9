"""Ends the records of topics and groups that the present plan does not have: they go on in it, or they become dead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from schemas import codec, topics
from schemas.errors import SchemaError
from streams.errors import Forbidden, GroupInUse
from streams.lifecycle.group_drain import Convert, drain
from streams.lifecycle.unfinished import carries_work, is_left_over, known_groups
from streams.plan import Plan
from streams.transport import Group, NewRecord, Partition, Record, Transport


def onward(plan: Plan) -> Convert:
    """The same records on the topics of `plan` that go on where each frame's trace ends.

    A record that cannot be read goes to the first segment, whose worker says why it is dead.
    """

    async def convert(records: Sequence[Record]) -> list[NewRecord]:
        return [NewRecord(_topic(record, plan), record.key, record.value, record.headers) for record in records]

    return convert


def _topic(record: Record, plan: Plan) -> str:
    try:
        event = codec.decode_frame(record.value, record.headers, appended_seconds=record.timestamp).event
    except SchemaError:
        return topics.RAW
    return plan.topic_for({entry.stage for entry in event.trace} | {entry.stage for entry in event.skipped})


@dataclass(frozen=True, slots=True)
class GiveUp:
    """What giving a group up means: `dead` are records by topic that no other group finishes or has finished."""

    group: str
    of_plan: bool
    members: int
    held: int
    dead: Mapping[str, int]
    partitions: frozenset[Partition]
    """Those with dead records."""
    others: tuple[str, ...]
    """Groups that finish, or have finished, what does not become dead."""


class PlanGroups:
    """The consumer groups of a deployment beside its plan; `prefix` begins the names of the plan's groups."""

    def __init__(self, transport: Transport, plan: Plan, prefix: str) -> None:
        self._transport, self._plan = transport, plan
        self._prefix, self._readers = prefix, plan.readers(prefix)

    async def finish_topic(self, topic: str, convert: Convert) -> int:
        """Convert what is left on `topic`, drop it there, and forget groups that have nothing else to do.

        Raises GroupInUse while a worker of another plan reads it.
        """
        groups = await self._transport.groups()
        reading = _positions(groups, topic)
        if used := [name for name in reading if any(groups[name].positions[p].has_member for p in reading[name])]:
            raise GroupInUse(f"group {used[0]} has workers that read {topic}: stop them first")
        behind = [name for name, lag in reading.items() if any(lag.values())]
        if not reading:
            behind = [f"{self._prefix}.{topic.removeprefix(topics.between(''))}"]
        once, finished = _Once(convert), 0
        for name in behind:
            await drain(self._transport, name, [topic], once)
        finished = once.finished
        await self._clear([topic], [*reading, *behind])
        return finished

    async def give_up_means(self, name: str) -> GiveUp | None:
        """None where there is no such group."""
        groups = await known_groups(self._transport, await self._transport.topics(), self._readers)
        if (group := groups.get(name)) is None:
            return None
        held = {partition: position.lag for partition, position in group.positions.items() if position.lag}
        others = {partition: self._others(partition, name, groups) for partition in held}
        partitions = frozenset(p for p in held if carries_work(p.topic) and not others[p])
        dead: dict[str, int] = {}
        for partition in sorted(partitions):
            dead[partition.topic] = dead.get(partition.topic, 0) + held[partition]
        of_plan, left_to = name in self._readers, tuple(sorted(set().union(*others.values())))
        return GiveUp(name, of_plan, group.members, sum(held.values()), dead, partitions, left_to)

    async def give_up(self, given_up: GiveUp, convert: Convert) -> int:
        """Convert what becomes dead and forget the group. A group of the plan is kept, with nothing left to do.

        Returns the number of records that were converted. Raises GroupInUse.
        """
        if given_up.members:
            raise GroupInUse(f"group {given_up.group} has live members: stop them first")
        finished = 0
        if given_up.dead:
            converted = _OfPartitions(given_up.partitions, convert)
            await drain(self._transport, given_up.group, list(given_up.dead), converted)
            finished = converted.finished
        left_over = [topic for topic in given_up.dead if is_left_over(topic, self._plan.topics())]
        await self._clear(left_over, [given_up.group])
        if not given_up.of_plan:
            await self._transport.forget(given_up.group)
        return finished

    def _others(self, partition: Partition, name: str, groups: Mapping[str, Group]) -> set[str]:
        """The groups of the plan, and any others that are registered, that finish the partition's records."""
        of_plan = {group for group, topic in self._readers.items() if topic == partition.topic}
        registered = {group for group, known in groups.items() if partition in known.positions}
        return (of_plan | registered) - {name}

    async def _clear(self, names: Sequence[str], groups: Collection[str]) -> None:
        """Drop finished records of these topics and forget groups that hold nothing, where the log allows it.

        Where records may not be dropped, the groups stay: their positions say that the records are finished.
        """
        known = await self._transport.groups()
        try:
            for topic in names:
                for partition, before in _finished(known, topic).items():
                    await self._transport.cut(partition, before)
        except Forbidden:
            return
        for name in dict.fromkeys(groups):
            positions = known[name].positions.values() if name in known else ()
            if name not in self._readers and not any(position.lag for position in positions):
                await self._transport.forget(name)


class _OfPartitions:
    """Converts the records of some partitions; what others hold is another group's."""

    def __init__(self, partitions: Collection[Partition], convert: Convert) -> None:
        self._partitions, self._convert = partitions, convert
        self.finished = 0

    async def __call__(self, records: Sequence[Record]) -> Sequence[NewRecord]:
        if records[0].partition not in self._partitions:
            return ()
        outgoing = await self._convert(records)
        self.finished += len(records)
        return outgoing


class _Once:
    """Converts each record of a partition once, however many groups have not finished it, and in whichever order."""

    def __init__(self, convert: Convert) -> None:
        self._convert = convert
        self._done: dict[Partition, list[range]] = {}
        """Offsets, in runs: one for each group."""
        self.finished = 0

    async def __call__(self, records: Sequence[Record]) -> Sequence[NewRecord]:
        done = self._done.setdefault(records[0].partition, [])
        new = [record for record in records if not any(record.offset in offsets for offsets in done)]
        if not new:
            return ()
        outgoing = await self._convert(new)
        first = done.pop().start if done and done[-1].stop == records[0].offset else new[0].offset
        done.append(range(first, records[-1].offset + 1))
        self.finished += len(new)
        return outgoing


def _positions(groups: Mapping[str, Group], topic: str) -> dict[str, dict[Partition, int]]:
    """Lag by partition of `topic`, for each group that reads it or has read it."""
    lags = {
        name: {partition: position.lag for partition, position in group.positions.items() if partition.topic == topic}
        for name, group in sorted(groups.items())
    }
    return {name: lag for name, lag in lags.items() if lag}


def _finished(groups: Mapping[str, Group], topic: str) -> dict[Partition, int]:
    """Up to which offset all groups that read `topic` have finished each partition."""
    ends: dict[Partition, int] = {}
    for group in groups.values():
        for partition, position in group.positions.items():
            if partition.topic == topic:
                ends[partition] = min(position.next_offset, ends.get(partition, position.next_offset))
    return {partition: end for partition, end in ends.items() if end}
