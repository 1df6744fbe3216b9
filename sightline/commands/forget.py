"""`sightline forget`: request that frames are erased, and prove that they are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import typer
from msgspec.structs import replace

from schemas.events import Deletion
from sightline.config import Config
from sightline.terminal.console import quoted
from sightline.terminal.foreign_text import visible
from sightline.terminal.frame_ids import check_frame_ids
from sightline.terminal.frame_selectors import FrameSelectors
from sightline.terminal.options import CommandError, UsageError, configured, err, out
from sightline.terminal.render import counted, new_table
from sightline.terminal.signals import doing
from sightline.wiring.deletion_copy import request_deletions
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.near_pictures import near_frames
from sightline.wiring.older_copies import older_copies
from sightline.wiring.parts import Parts, opened
from streams.backends import Backends
from streams.clock import utc
from streams.lifecycle.erasure import Proof, Request, erased_words, prove, requested_deletions, stored_blobs
from streams.lifecycle.frame_search import (
    ACCEPTED,
    PICTURE,
    UNCITED_SECONDS,
    FoundFrame,
    FoundFrames,
    FrameSelection,
    find_frames,
)
from streams.lifecycle.kept_frames import end_keeping
from streams.sources.uuid7 import uuid7

VERIFY = "verify"
EXAMPLES = 5
EXAMPLE_FEEDS = 20
MOST_UNASKED = 100
"""More frames than this need `--yes`."""

Frames = Annotated[
    list[str] | None,
    typer.Argument(help="Frame ids, as `search` and `dead` show them; or `verify REQUEST`."),
]


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be erased, and where it lies.")]
Yes = Annotated[
    bool, typer.Option("--yes", help=f"Erase also with --all, --tenant or --near, and more than {MOST_UNASKED} frames.")
]
Reason = Annotated[str, typer.Option(help="A note that is kept with the request.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the receipt or the proof as one JSON object.")]


@configured
async def forget(
    config: Config,
    selectors: FrameSelectors,
    frames: Frames = None,
    reason: Reason = "",
    dry_run: DryRun = False,  # noqa: FBT002 - a flag as typed
    yes: Yes = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Erase frames: their points, pictures and records, wherever they lie. A replay does not bring them back.

    Running workers apply the request within minutes; otherwise it is applied when a worker starts. A picture that
    another frame has too is kept until that frame is forgotten as well. The embedded log removes the records at once,
    Kafka by retention. `sightline forget verify REQUEST` proves what is gone.
    """
    check_data_folder(config)
    if frames and frames[0] == VERIFY:
        await _verify(config, frames[1:], as_json=as_json)
        return
    selection = selectors.selection(config, list(frames or ()))
    async with opened(config, as_is=True) as parts:
        with doing("looking for the frames; nothing is requested yet"):
            found = await find_frames(_backends(parts), selection, time.time())
            known = await requested_deletions(parts.transport)
            near = await _find_near(parts, selectors, selection, found) if selectors.near else {}
            await _find_returned(_backends(parts), known, found, selection)
            erased = _take_erased(known, found, selection)
        unknown = sorted(selection.frames - found.frames.keys() - erased - found.elsewhere.keys())
        if not as_json:
            _print_found(found, selection, unknown, near)
        elif dry_run or not (found.frames or unknown):
            out.print_json(data=_found_fields(found.frames, unknown, near))
        if dry_run or not (found.frames or unknown):
            raise typer.Exit(int(bool(unknown or found.elsewhere) or not (found.frames or erased)))
        is_wide = selectors.every or selectors.tenant or near or len(found.frames) > MOST_UNASKED
        if not yes and is_wide:
            raise CommandError(
                f"these are {counted(len(found.frames), 'frame')} of tenant {selection.tenant}: --yes erases them, "
                "--dry-run only lists"
            )
        if near:
            selection = FrameSelection(tenant=selection.tenant, frames=frozenset(found.frames))
        request = Request(id=uuid7(time.time()), selection=selection, requested=utc(time.time()), reason=reason)
        deletions = [*request.deletions(found.frames, known), *request.refusals(unknown, known)]
        with doing("requesting the deletion; run it again to go on"):
            await request_deletions(config, parts.transport, deletions)
            await end_keeping(parts.transport, [deletion.frame for deletion in deletions])
    _print_receipt(config, request, found.frames, unknown, near, as_json=as_json)
    raise typer.Exit(int(bool(unknown or found.elsewhere)))


async def _find_near(
    parts: Parts, selectors: FrameSelectors, selection: FrameSelection, found: FoundFrames
) -> dict[str, float]:
    """Add the frames whose picture looks like the selected one; their scores, best first."""
    content = selectors.picture.read_bytes() if selectors.picture else b""
    scores = await near_frames(parts, content, selection.tenant, selectors.near_score)
    if not (others := frozenset(scores) - found.frames.keys()):
        return {}
    near = await find_frames(_backends(parts), replace(selection, frames=others, sha256=""), time.time())
    found.frames |= near.frames
    return {frame: score for frame, score in scores.items() if frame in near.frames}


async def _find_returned(
    backends: Backends, known: Mapping[str, Deletion], found: FoundFrames, selection: FrameSelection
) -> None:
    """Pictures of erased frames that are there again: an older copy of the pictures was put in place."""
    meant = [known[frame] for frame in selection.frames if frame in known and known[frame].erased is not None]
    stored = set(await stored_blobs(backends, meant))
    for deletion in meant:
        if uris := stored.intersection(deletion.uris):
            found.add(deletion.frame, deletion.feed, uris, PICTURE)


def _take_erased(known: Mapping[str, Deletion], found: FoundFrames, selection: FrameSelection) -> set[str]:
    """Take frames out of `found` that are erased already, and say so."""
    erased: set[str] = set()
    for frame, deletion in known.items():
        left = found.frames.get(frame)
        is_meant = frame in selection.frames or left is not None
        if is_meant and deletion.erased is not None and (left is None or left.places == {ACCEPTED}):
            found.frames.pop(frame, None)
            erased.add(frame)
            err.print(f"frame {frame} {erased_words(deletion)}", soft_wrap=True)
    return erased


def _print_found(found: FoundFrames, selection: FrameSelection, unknown: list[str], near: Mapping[str, float]) -> None:
    table = new_table(("where", "frames"), right=("frames",))
    for place, frames in sorted(Counter(_places(found.frames)).items()):
        table.add_row(place, str(frames))
    if found.frames:
        out.print(table)
    for frame, each in list(found.frames.items())[:EXAMPLES]:
        out.print(f"[dim]{frame}  {quoted(each.feed)}: {', '.join(sorted(each.places))}[/]", markup=True)
    if len(found.frames) > EXAMPLES:
        out.print(f"[dim]and {len(found.frames) - EXAMPLES} more[/]", markup=True)
    for frame, score in near.items():
        out.print(f"{frame}  {quoted(found.frames[frame].feed)}: near-duplicate, similarity {score:.3f}")
    for frame in unknown:
        err.print(f"! frame {frame} is unknown: nothing of it is left, or it never came", soft_wrap=True)
    if unknown:
        err.print(
            "! unknown frames are refused if they come. A picture that neither log nor index names is not found by "
            "id: `sightline forget --picture FILE` or `--feed` with `--since` and `--until` finds it",
            soft_wrap=True,
        )
    for frame, tenant in sorted(found.elsewhere.items()):
        err.print(f"! frame {frame} is of tenant {tenant}: add --tenant {tenant} to erase it", soft_wrap=True)
    if found.young:
        err.print(
            f"! {counted(found.young, 'picture')} without a frame left out: stored less than "
            f"{UNCITED_SECONDS / 60:g} min ago, their frames may be on their way; run it again after that",
            soft_wrap=True,
        )
    for feed in sorted(selection.feeds - found.feeds - {each.feed for each in found.frames.values()}):
        known = visible(", ".join(sorted(found.feeds)[:EXAMPLE_FEEDS])) or "none"
        err.print(f"! tenant {selection.tenant} has no feed '{visible(feed)}'; its feeds: {known}", soft_wrap=True)
    if not found.frames:
        nothing = f"no frame of tenant {selection.tenant} is selected: nothing was requested"
        out.print("nothing of these frames is left" if selection.frames else nothing)


def _print_receipt(
    config: Config,
    request: Request,
    found: dict[str, FoundFrame],
    unknown: list[str],
    near: Mapping[str, float],
    *,
    as_json: bool,
) -> None:
    if as_json:
        receipt = {
            "request": request.id,
            "requested": request.requested.isoformat(),
            "selection": request.digest,
            "reason": request.reason,
        }
        out.print_json(data=receipt | _found_fields(found, unknown, near))
        return
    out.print(
        f"Deletion of {counted(len(found), 'frame')} requested; workers will apply it. {_deadline(config)}\n"
        f"Request {request.id} (selection {request.digest[:16]}…): `sightline forget {VERIFY} {request.id}` proves it."
    )


def _found_fields(found: dict[str, FoundFrame], unknown: list[str], near: Mapping[str, float]) -> dict[str, object]:
    return {"frames": sorted(found), "where": Counter(_places(found)), "unknown": unknown, "near": near}


def _places(found: dict[str, FoundFrame]) -> list[str]:
    return [place for frame in found.values() for place in sorted(frame.places)]


def _deadline(config: Config) -> str:
    if config.transport_url.startswith("sqlite:"):
        return "No byte is left within minutes, while a worker runs."
    return f"Records on the log expire within {config.storage.log_hours:g} h."


async def _verify(config: Config, requests: list[str], *, as_json: bool) -> None:
    if len(requests) != 1:
        raise UsageError(f"name one request, as `sightline forget` printed it: sightline forget {VERIFY} REQUEST")
    try:
        (request,) = check_frame_ids(requests)
    except UsageError:
        raise UsageError(f"'{visible(requests[0])[:100]}' is no request; `sightline forget` prints it") from None
    async with opened(config, as_is=True) as parts:
        with doing("looking for what is left"):
            proof = await prove(_backends(parts), request)
    if proof is None:
        raise CommandError(f"there is no request {request}")
    copies = [str(path) for path in older_copies(config)]
    if as_json:
        out.print_json(data=_proof_fields(request, proof) | {"older_copies": copies})
    else:
        _print_proof(config, proof)
    for path in copies:
        err.print(
            f"! {path} is an older copy and may hold these frames, nothing erases them there: delete it", soft_wrap=True
        )
    raise typer.Exit(int(not proof.is_done or bool(copies)))


def _proof_fields(request: str, proof: Proof) -> dict[str, object]:
    first = proof.deletions[0]
    return {
        "request": request,
        "requested": first.requested.isoformat(),
        "selection": first.requests[request],
        "frames": len(proof.deletions),
        "pending": proof.pending,
        "in_index": proof.in_index,
        "on_log": proof.on_log,
        "pictures": proof.pictures,
        "shared": proof.shared,
        "without_picture": proof.without_picture,
        "done": proof.is_done,
    }


def _print_proof(config: Config, proof: Proof) -> None:
    first = proof.deletions[0]
    out.print(
        f"{counted(len(proof.deletions), 'frame')}, requested {first.requested.isoformat()} {quoted(first.reason)}"
    )
    for what, left in (
        ("not reported as erased by a worker yet: run `sightline work --until-idle`", proof.pending),
        ("still in the index", proof.in_index),
        ("still on the log", proof.on_log),
        ("stored", proof.pictures),
    ):
        if left:
            noun = "picture" if left is proof.pictures else "frame"
            out.print(f"[yellow]{counted(len(left), noun)} {what}[/], for example {left[0]}", markup=True)
    if proof.on_log:
        out.print(_deadline(config))
    if proof.shared:
        out.print(f"{counted(len(proof.shared), 'picture')} kept: a frame that is not erased has the same one")
    if proof.without_picture:
        out.print(
            f"{counted(len(proof.without_picture), 'frame')} named no picture. One that nothing cites is not found by "
            "id: `sightline forget --picture FILE` or `--feed` finds it."
        )
    if proof.is_done:
        out.print("[green]Erased: nothing of them is in the index, on the log or among the pictures.[/]", markup=True)


def _backends(parts: Parts) -> Backends:
    return Backends(parts.transport, parts.index, parts.blobs)
