"""`/api/frames/…`: an event, its picture, its thumbnail, and its picture with the detections drawn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from processors.headers import Unreadable
from processors.shrink import encode_jpeg
from schemas.codec import encode_frame
from schemas.events import Format, FrameEvent
from schemas.pictures import MEDIA_TYPES, picture_format
from search.annotate import annotated
from search.uploads import decode_upload
from sightline.api.cards import event_card, payload_card
from sightline.api.erased import ErasedFrames
from sightline.api.errors import DamagedPicture, RemovedPicture
from sightline.api.live import Live
from sightline.api.services import Services
from stores.errors import Missing, Refused
from streams.lifecycle.event_lookup import find_event, find_payload
from streams.lifecycle.kept_frames import Retained

PRIVATE = "private, max-age=86400, immutable"
"""A frame's picture never changes; shared caches must not keep it."""
CACHED_URIS = 4096
JPEG_QUALITY = 90
_RARELY_SHOWN: tuple[Format, ...] = ("heic", "heif")


@dataclass(frozen=True, slots=True)
class PictureUris:
    """The blobs of a frame's picture and thumbnail; empty where there is none."""

    original: str
    thumbnail: str


class Frames:
    """Looks up a frame's event and pictures: among the latest events, in the index, in the log."""

    def __init__(self, services: Services, live: Live, erased: ErasedFrames) -> None:
        self._services = services
        self._live = live
        self._retained, self._erased = Retained(services.transport), erased
        self._uris: OrderedDict[str, PictureUris] = OrderedDict()

    async def event(self, frame: str) -> FrameEvent:
        """Raises NotFoundException, HTTPException (410) for an erased frame, StoreUnavailable, Unavailable."""
        await self._erased.check(frame)
        tenant = self._services.settings.tenant
        if event := self._live.event(frame):
            return event
        logged = await find_event(self._services.transport, frame, await self._point(frame), tenant)
        if logged is None:
            raise NotFoundException(f"no frame {frame} in the index or the log")
        return logged

    async def card(self, frame: str) -> dict[str, Any]:
        """As a search shows it. Raises as `event`."""
        await self._erased.check(frame)
        if (event := self._live.event(frame)) is None and (point := await self._point(frame)):
            return payload_card(frame, point)
        return event_card(event or await self.event(frame), self._services.settings.skip_states)

    async def picture(self, frame: str, *, small: bool) -> bytes:
        """Encoded bytes. Raises as `event`, and Missing, RemovedPicture, DamagedPicture."""
        await self._erased.check(frame)
        uris = self._uris.get(frame) or self._cache(frame, await self._picture_uris(frame))
        tenant, blobs = self._services.settings.tenant, self._services.blobs
        if small and uris.thumbnail not in ("", uris.original):
            with suppress(Missing):  # the original is shown in the place of a thumbnail that is gone
                return await blobs.get(tenant, uris.thumbnail)
        try:
            return await blobs.get(tenant, uris.original)
        except Refused as damaged:
            raise DamagedPicture(str(damaged)) from damaged
        except Missing as missing:
            if limit := await self._retention_limit(frame):
                raise RemovedPicture(limit) from missing
            raise

    async def kept(self, frame: str) -> dict[str, Any]:
        """When and why somebody asked to keep the frame; empty where no one did. Raises Unavailable."""
        kept = await self._retained.kept(frame)
        return {} if kept is None else {"kept": {"since": kept.since, "reason": kept.reason}}

    async def _retention_limit(self, frame: str) -> str:
        """What retention keeps of the frame's feed; empty where it has not taken the frame's picture."""
        try:
            event = await self.event(frame)
        except NotFoundException:
            return ""
        return await self._retained.limit(event.tenant, event.feed, event.ingested)

    async def _picture_uris(self, frame: str) -> PictureUris:
        if event := self._live.event(frame):
            return PictureUris(event.image.uri, event.image.thumbnail)
        if point := await self._point(frame):
            return PictureUris(point.get("uri") or "", point.get("thumbnail") or "")
        image = (await self.event(frame)).image
        return PictureUris(image.uri, image.thumbnail)

    async def _point(self, frame: str) -> dict[str, Any] | None:
        settings = self._services.settings
        return await find_payload(self._services.index, settings.collection, frame, settings.tenant)

    def _cache(self, frame: str, uris: PictureUris) -> PictureUris:
        self._uris[frame] = uris
        while len(self._uris) > CACHED_URIS:
            self._uris.popitem(last=False)
        return uris


class FramesController(Controller):
    path = "/api/frames/{frame:uuid}"

    @get("/")
    async def event(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        """The enriched event without its vectors, as subscribers see it; with `kept` where retention never takes it."""
        event = encode_frame(await frames.event(str(frame)), as_json=True, with_embeddings=False)
        if kept := await frames.kept(str(frame)):
            event = msgspec.json.encode(msgspec.json.decode(event) | kept)
        return Response(msgspec.json.format(event, indent=2), media_type="application/json")

    @get("/card")
    async def card(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> dict[str, Any]:
        return await frames.card(str(frame))

    @get("/image")
    async def image(
        self, request: Request[Any, Any, Any], frame: FromPath[UUID], frames: NamedDependency[Frames]
    ) -> Response[bytes]:
        """The original, and HEIC as a JPEG where the request does not accept it."""
        original = await frames.picture(str(frame), small=False)
        return _picture(await asyncio.to_thread(displayable, original, request.headers.get("accept", "")))

    @get("/thumbnail")
    async def thumbnail(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        return _picture(await frames.picture(str(frame), small=True))

    @get("/annotated")
    async def annotated_image(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        """A JPEG with boxes, labels and tracks drawn."""
        event, original = await frames.event(str(frame)), await frames.picture(str(frame), small=False)
        content = await asyncio.to_thread(lambda: annotated(event, decode_upload(original)))
        return Response(content, media_type="image/jpeg", headers={"cache-control": "no-cache"})


def _picture(content: bytes) -> Response[bytes]:
    return Response(content, media_type=_media_type(content), headers={"cache-control": PRIVATE, "vary": "accept"})


def _media_type(content: bytes) -> str:
    """By the content's signature."""
    image_format = picture_format(content)
    return MEDIA_TYPES[image_format] if image_format else "application/octet-stream"


def displayable(content: bytes, accept: str) -> bytes:
    """HEIC as a JPEG, unless the client says that it shows HEIC: most browsers do not."""
    if picture_format(content) not in _RARELY_SHOWN or any(MEDIA_TYPES[name] in accept for name in _RARELY_SHOWN):
        return content
    try:
        return encode_jpeg(decode_upload(content), JPEG_QUALITY)
    except Unreadable:
        return content
