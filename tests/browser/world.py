"""A small deployment as the runtime leaves it: log, index and blobs with pictures of the miniature world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace

from schemas import points
from schemas.cloudevents import ENRICHED_TYPE, JSON, OBSERVED_TYPE, RAW_TYPE, frame_headers
from schemas.codec import encode_frame, encode_observed
from schemas.events import Caption, Detection, Embedding, FrameEvent, Observed, Skipped
from schemas.identity import partition_key, still_position
from schemas.topics import ENRICHED, OBSERVED, RAW, declared
from search.models import Array, PictureModel, Pixels, TextAndPictureModel
from stores.blobs import THUMBNAIL, BlobStore, sha256_hex
from stores.edge.client import EdgeIndex
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Index, Point
from streams.sqlite.transport import SqliteTransport
from streams.transport import NewRecord, TopicSpec, Transport
from tests.support.events import frame_event
from tinyworld.captions import LEAST_NAMED_SHARE, caption
from tinyworld.render import Rendered, render
from tinyworld.scenes import Scene

TENANT, MODEL_SET = "default", "tiny-test"
NAME = points.collection("frames", MODEL_SET)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the miniature world with its ground truth."""

    scene: Scene
    rendered: Rendered

    @property
    def caption(self) -> str:
        return caption(self.scene, self.rendered)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(f"{thing.color} {thing.shape}" for thing in self.scene.things)

    @property
    def jpeg(self) -> bytes:
        return encoded(self.rendered.image)


@dataclass(frozen=True, slots=True)
class World:
    """The stores that events are written to. Vectors come from the models; boxes and captions are the ground truth."""

    transport: Transport
    index: Index
    blobs: BlobStore
    semantic: TextAndPictureModel
    visual: PictureModel

    async def prepare(self) -> None:
        """Topics and the collection."""
        specs = [
            TopicSpec(name=t.name, partitions=t.partitions, compacted=t.compacted, max_record_bytes=t.max_record_bytes)
            for t in declared(partitions=2)
        ]
        await self.transport.create(specs)
        blank = [np.zeros((8, 8, 3), np.uint8)]
        sizes = {
            points.SEMANTIC: self.semantic.embed_images(blank).shape[1],
            points.VISUAL: self.visual.embed_images(blank).shape[1],
        }
        await self.index.ensure(CollectionSpec(name=NAME, vectors=sizes, payload=points.FRAME_FIELDS), alias="frames")

    async def close(self) -> None:
        for part in (self.transport, self.index, self.blobs):
            await part.close()

    async def add(
        self,
        shown: Sequence[Shown],
        *,
        feed: str = "lobby",
        gated: bool = False,
        tenant: str = TENANT,
        thumbnails: bool = False,
    ) -> list[FrameEvent]:
        """Write pictures as the runtime does: blob, point, event and observation. A gated frame has no point."""
        events = [await self._event(picture, feed, gated, tenant) for picture in shown]
        if thumbnails:
            events = [await self._with_thumbnail(event, each) for event, each in zip(events, shown, strict=True)]
        if not gated:
            await self.index.upsert(
                NAME, [Point(id=e.id, vectors=points.vectors(e), payload=points.payload(e)) for e in events]
            )
        await self.transport.publish([record for event in events for record in _records(event)])
        return events

    async def _event(self, shown: Shown, feed: str, gated: bool, tenant: str) -> FrameEvent:  # noqa: FBT001
        picture, now = shown.jpeg, datetime.now(UTC)
        sha256 = sha256_hex(picture)
        height, width = shown.rendered.image.shape[:2]
        event = frame_event(
            still_position(f"{sha256[:8]}.jpg", sha256), picture, tenant=tenant, feed=feed, kind="still", ingested=now,
            captured=now, published=datetime.now(UTC), model_set=MODEL_SET, inline=False,
            image={"width": width, "height": height},
        )  # fmt: skip
        await self.blobs.put(event.tenant, event.image.uri, picture)
        return _gated(event) if gated else self._enriched(event, shown)

    async def _with_thumbnail(self, event: FrameEvent, shown: Shown) -> FrameEvent:
        small = encoded(np.ascontiguousarray(shown.rendered.image[::4, ::4]))
        uri = event.image.uri.replace(event.image.sha256, sha256_hex(small)) + THUMBNAIL
        await self.blobs.put(event.tenant, uri, small)
        return replace(event, image=replace(event.image, thumbnail=uri))

    def _enriched(self, event: FrameEvent, shown: Shown) -> FrameEvent:
        detections = tuple(
            Detection(
                label=thing.shape, confidence=0.97, box=(float(box[0]), float(box[1]), float(box[2]), float(box[3]))
            )
            for thing, box, seen in zip(shown.scene.things, shown.rendered.boxes, shown.rendered.visible, strict=True)
            if seen >= LEAST_NAMED_SHARE
        )
        pictures = [shown.rendered.image]
        embeddings = (
            _embedding(points.SEMANTIC, self.semantic.embed_images(pictures)),
            _embedding(points.VISUAL, self.visual.embed_images(pictures)),
        )
        caption = Caption(text=shown.caption, model="truth")
        return replace(event, detections=detections, captions=(caption,), embeddings=embeddings)


def shown(*scenes: Scene, seed: int = 0) -> list[Shown]:
    """Pictures of the scenes."""
    return [Shown(scene, render(scene, rng=np.random.default_rng([seed, n]))) for n, scene in enumerate(scenes)]


def encoded(pixels: Pixels) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _gated(event: FrameEvent) -> FrameEvent:
    skipped = tuple(Skipped(stage=stage, reason="gate:static") for stage in ("detect", "caption", "embed"))
    return replace(event, skipped=skipped)


def _embedding(name: str, vectors: Array) -> Embedding:
    return Embedding(name=name, model="tiny", dimension=vectors.shape[1], vector=vectors[0].astype("<f4").tobytes())


def _records(event: FrameEvent) -> list[NewRecord]:
    key = partition_key(event.tenant, event.feed)
    assert event.published is not None
    observed = Observed(
        frame=event.id, tenant=event.tenant, feed=event.feed, kind=event.kind, state="enriched",
        published=event.published, skipped={entry.stage: entry.reason for entry in event.skipped},
    )  # fmt: skip
    headers = frame_headers(event, ENRICHED_TYPE, content_type=JSON)
    return [
        NewRecord(RAW, event.id.encode(), encode_frame(event, with_embeddings=False), frame_headers(event, RAW_TYPE)),
        NewRecord(ENRICHED, key, encode_frame(event, as_json=True, with_embeddings=False), headers),
        NewRecord(OBSERVED, key, encode_observed(observed), frame_headers(event, OBSERVED_TYPE, content_type=JSON)),
    ]


async def opened(folder: Path, semantic: TextAndPictureModel, visual: PictureModel) -> World:
    """An empty world in `folder`; close its transport, index and blobs."""
    transport = SqliteTransport(folder / "log.sqlite")
    await transport.open()
    world = World(transport, EdgeIndex(folder / "index"), BlobFolder(folder / "blobs"), semantic, visual)
    await world.prepare()
    return world
