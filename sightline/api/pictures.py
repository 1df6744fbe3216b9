"""`/api/frames/…`: an event, its picture, its thumbnail, and the picture with what was found drawn on it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from schemas.codec import encode_frame
from schemas.events import FrameEvent
from search.uploads import decode_upload
from sightline.api.live import Live
from sightline.api.services import Services
from streams.lifecycle.event_lookup import find_event, find_payload

PRIVATE = "private, max-age=86400, immutable"
"""A frame's picture never changes; it is nobody's business but the browser's."""
KEPT_PLACES = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame's picture and thumbnail are."""

    uri: str
    thumbnail: str


class Frames:
    """Finds what is known of a frame: among the latest events, in the index, in the log."""

    def __init__(self, services: Services, live: Live) -> None:
        self._services = services
        self._live = live
        self._places: OrderedDict[str, Place] = OrderedDict()

    async def event(self, frame: str) -> FrameEvent:
        """Raises NotFoundException, StoreUnavailable, Unavailable."""
        settings = self._services.settings
        if (event := self._live.event(frame)) and event.tenant == settings.tenant:
            return event
        point = await find_payload(self._services.index, settings.collection, frame, settings.tenant)
        found = await find_event(self._services.transport, frame, point, settings.tenant)
        if found is None:
            raise NotFoundException(f"no event of frame {frame} in the log")
        return found

    async def picture(self, frame: str, *, small: bool) -> bytes:
        """Encoded bytes. Raises NotFoundException, Missing, StoreUnavailable."""
        place = await self._place(frame)
        uri = (place.thumbnail if small else "") or place.uri
        return await self._services.blobs.get(self._services.settings.tenant, uri)

    async def _place(self, frame: str) -> Place:
        if place := self._places.get(frame):
            return place
        settings = self._services.settings
        if event := self._live.event(frame):
            place = Place(event.image.uri, event.image.thumbnail)
        elif point := await find_payload(self._services.index, settings.collection, frame, settings.tenant):
            place = Place(point.get("uri") or "", point.get("thumbnail") or "")
        else:
            image = (await self.event(frame)).image
            place = Place(image.uri, image.thumbnail)
        self._places[frame] = place
        while len(self._places) > KEPT_PLACES:
            self._places.popitem(last=False)
        return place


class FramesController(Controller):
    path = "/api/frames/{frame:uuid}"

    @get("/")
    async def event(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        """The enriched event without its vectors, as subscribers see it."""
        found = encode_frame(await frames.event(str(frame)), as_json=True, with_embeddings=False)
        return Response(msgspec.json.format(found, indent=2), media_type="application/json")

    @get("/image")
    async def image(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        return _picture(await frames.picture(str(frame), small=False))

    @get("/thumbnail")
    async def thumbnail(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        return _picture(await frames.picture(str(frame), small=True))

    @get("/annotated")
    async def annotated(self, frame: FromPath[UUID], frames: NamedDependency[Frames]) -> Response[bytes]:
        """A JPEG with boxes, labels and tracks drawn."""
        event, content = await frames.event(str(frame)), await frames.picture(str(frame), small=False)
        drawn = await asyncio.to_thread(_drawn, event, content)
        return Response(drawn, media_type="image/jpeg", headers={"cache-control": "no-cache"})


def _drawn(event: FrameEvent, content: bytes) -> bytes:
    from search.annotate import annotated  # imports a drawing library that nothing else here needs

    return annotated(event, decode_upload(content))


def _picture(content: bytes) -> Response[bytes]:
    return Response(content, media_type=_media_type(content), headers={"cache-control": PRIVATE})


def _media_type(content: bytes) -> str:
    """By signature: what a browser is told is what the bytes are."""
    if content[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    return "image/webp" if content[8:12] == b"WEBP" else "application/octet-stream"
