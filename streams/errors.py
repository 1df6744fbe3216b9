"""Errors of the runtime, by the action that they call for.

StreamError
├── Unavailable       the broker or the log cannot be reached: wait, keep membership, retry
├── Fenced            another owner has taken over (a lease or a transaction): drop the work, poll again
├── Gap               records between the committed offset and the log's start are gone: stop the partition
├── LogFull           the log holds only what groups have not finished: it refuses writes until they do
├── TooLarge          a record exceeds the topic's limit: dead-letter it with a reference, never truncate
├── DamagedLog        the log's file is torn or not ours: stop, name the file, never reset it
├── StageBroken       a stage fails for frames of all kinds: stop, unready, leave the frames where they are
├── Forbidden         the broker denies a right, or the group is another program's: stop, naming what is missing
├── GroupInUse        a consumer group has live members: stop them first
├── NewerVersion      a record of a newer major version: stop, unready, leave the topic as it is
└── PlanError         a plan, topic or setting that cannot work: refuse to start, all reasons at once
"""


class StreamError(Exception):
    """Base class of the runtime's errors."""


class Unavailable(StreamError):  # noqa: N818 - named for the state
    """The transport cannot be reached now; nothing is lost, retry."""


class Fenced(StreamError):  # noqa: N818 - named for the state
    """This assignment is no longer ours; its pending writes must not happen."""


class Gap(StreamError):  # noqa: N818 - named for the state
    """Records before the log's start were never processed by this group."""


class LogFull(StreamError):  # noqa: N818 - named for the state
    """The log has reached its size limit and holds only records that some group has not finished."""


class TooLarge(StreamError):  # noqa: N818 - named for the state
    """A record exceeds the limit of its topic."""


class DamagedLog(StreamError):  # noqa: N818 - named for the state
    """The file is torn, foreign or of a newer format; the message names it and the way out."""


class StageBroken(StreamError):  # noqa: N818 - named for the state
    """Unknown errors spread over frames or feeds; the message names the stage and the last error."""


class Forbidden(StreamError):  # noqa: N818 - named for the state
    """The broker refuses a request for good; the message names the missing right and what it is missing on."""


class GroupInUse(StreamError):  # noqa: N818 - named for the state
    """A consumer group has live members, and what was asked for would take their records from them."""


class NewerVersion(StreamError):  # noqa: N818 - named for the state
    """A record's major version is newer than this reader."""


class PlanError(StreamError):
    """The plan, its topics or settings do not fit; `reasons` holds every reason."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons
