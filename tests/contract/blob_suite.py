"""The contract of every blob store; each implementation is a subclass with a fixture `blobs`."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import date

import pytest

from stores.blobs import BlobStore, blob_uri, sha256_hex
from stores.errors import Missing, Refused

DAY, NEXT_DAY = date(2026, 11, 21), date(2026, 11, 22)


def uri(content: bytes, *, tenant: str = "default", feed: str = "lobby", suffix: str = "") -> str:
    return blob_uri(tenant, feed, DAY, sha256_hex(content), suffix)


async def sizes(blobs: BlobStore, tenant: str, feed: str = "", day: date | None = None) -> dict[str, int]:
    return {blob.uri: blob.size_bytes async for blob in blobs.list(tenant, feed, day)}


class BlobSuite:
    @pytest.fixture
    def blobs(self) -> BlobStore:
        raise NotImplementedError

    @pytest.mark.parametrize("size", [0, 1, 100_000, 7_000_000])
    async def test_get_returns_what_was_put(self, blobs: BlobStore, size: int) -> None:
        content = random.Random(size).randbytes(size)
        await blobs.put("default", uri(content), content)
        assert await blobs.get("default", uri(content)) == content

    async def test_repeated_and_concurrent_puts(self, blobs: BlobStore) -> None:
        contents = [bytes([number]) * 1000 for number in range(30)]
        await asyncio.gather(*(blobs.put("default", uri(content), content) for content in contents * 3))
        stored = await asyncio.gather(*(blobs.get("default", uri(content)) for content in contents))
        assert stored == contents

    async def test_many_feeds_start_at_once(self, blobs: BlobStore) -> None:
        contents = [bytes([number]) for number in range(200)]
        pictures = [(uri(content, feed=f"feed{content[0]}"), content) for content in contents]
        await asyncio.gather(*(blobs.put("default", blob, content) for blob, content in pictures))
        for blob, content in pictures:
            assert await blobs.get("default", blob) == content

    async def test_a_feed_named_in_another_script_and_as_long_as_may_be_has_blobs(self, blobs: BlobStore) -> None:
        for feed in ("北门-1", "हिन्दी", "𐐨" * 63):
            await blobs.put("default", blob := uri(b"picture", feed=feed), b"picture")
            assert await blobs.get("default", blob) == b"picture"

    async def test_a_missing_blob_is_missing(self, blobs: BlobStore) -> None:
        with pytest.raises(Missing):
            await blobs.get("default", uri(b"never"))
        await blobs.put("default", uri(b"there"), b"there")
        with pytest.raises(Missing):
            await blobs.get("default", uri(b"there", feed="gate"))

    async def test_a_deleted_blob_is_gone_and_may_be_deleted_again(self, blobs: BlobStore) -> None:
        await blobs.put("default", uri(b"picture"), b"picture")
        await blobs.put("default", uri(b"another"), b"another")
        for _ in range(2):
            await blobs.delete("default", uri(b"picture"))
        with pytest.raises(Missing):
            await blobs.get("default", uri(b"picture"))
        assert await blobs.get("default", uri(b"another")) == b"another"
        await blobs.put("default", uri(b"picture"), b"picture")
        assert await blobs.get("default", uri(b"picture")) == b"picture"

    async def test_many_blobs_are_deleted_at_once(self, blobs: BlobStore) -> None:
        contents = [bytes([number]) for number in range(40)]
        uris = [uri(content, feed=f"feed{content[0] % 3}") for content in contents]
        for blob, content in zip(uris, contents, strict=True):
            await blobs.put("default", blob, content)
        for _ in range(2):
            await blobs.delete_many("default", uris[1:])
        assert list(await sizes(blobs, "default")) == uris[:1]
        await blobs.delete_many("default", [])

    async def test_deleting_an_original_leaves_its_thumbnail_and_other_days_and_feeds(self, blobs: BlobStore) -> None:
        tomorrow = uri(b"picture").replace("-21/", "-22/")
        others = [uri(b"picture", suffix=".thumb"), uri(b"picture", feed="gate"), tomorrow]
        for blob in (uri(b"picture"), *others):
            await blobs.put("default", blob, b"picture")
        await blobs.delete("default", uri(b"picture"))
        for blob in others:
            assert await blobs.get("default", blob) == b"picture"

    async def test_concurrent_deletes(self, blobs: BlobStore) -> None:
        contents = [bytes([number]) * 1000 for number in range(20)]
        await asyncio.gather(*(blobs.put("default", uri(content), content) for content in contents))
        await asyncio.gather(*(blobs.delete("default", uri(content)) for content in contents * 2))
        for content in contents:
            with pytest.raises(Missing):
                await blobs.get("default", uri(content))

    async def test_lists_a_tenants_blobs_and_a_feeds(self, blobs: BlobStore) -> None:
        assert [blob async for blob in blobs.list("default")] == []
        began = time.time()
        mine = {uri(b"one"), uri(b"one", suffix=".thumb"), uri(b"one", feed="gate"), uri(b"one", feed="gate-2")}
        for blob in mine:
            await blobs.put("default", blob, b"one")
        await blobs.put("theirs", uri(b"one", tenant="theirs"), b"one")
        listed = [blob async for blob in blobs.list("default")]
        assert {blob.uri for blob in listed} == mine
        assert all(blob.size_bytes >= 3 for blob in listed)
        assert all(began - 60 < blob.modified < time.time() + 60 for blob in listed)
        assert [blob.uri async for blob in blobs.list("default", "gate")] == [uri(b"one", feed="gate")]
        assert [blob async for blob in blobs.list("default", "none")] == []

    async def test_content_with_another_hash_than_the_name_is_refused(self, blobs: BlobStore) -> None:
        with pytest.raises(Refused):
            await blobs.put("default", uri(b"picture"), b"another")
        with pytest.raises(Missing):
            await blobs.get("default", uri(b"picture"))

    async def test_a_thumbnail_lies_beside_its_original_under_the_same_name(self, blobs: BlobStore) -> None:
        await blobs.put("default", uri(b"picture"), b"picture")
        await blobs.put("default", uri(b"picture", suffix=".thumb"), b"small")
        assert await blobs.get("default", uri(b"picture", suffix=".thumb")) == b"small"
        assert await blobs.get("default", uri(b"picture")) == b"picture"

    async def test_a_tenant_reaches_only_its_own_blobs(self, blobs: BlobStore) -> None:
        theirs = uri(b"secret", tenant="theirs")
        await blobs.put("theirs", theirs, b"secret")
        for call in (blobs.get("mine", theirs), blobs.put("mine", theirs, b"secret"), blobs.delete("mine", theirs)):
            with pytest.raises(Refused):
                await call
        assert await blobs.get("theirs", theirs) == b"secret"

    async def test_blobs_are_listed_with_size_and_time_by_tenant_feed_and_day(self, blobs: BlobStore) -> None:
        tomorrow = uri(b"picture").replace("-21/", "-22/")
        ours = {uri(b"picture"): b"picture", uri(b"picture", suffix=".thumb"): b"small", tomorrow: b"picture"}
        others = {uri(b"another", feed="北门-1"): b"another"}
        for blob, content in (ours | others).items():
            await blobs.put("default", blob, content)
        await blobs.put("theirs", uri(b"secret", tenant="theirs"), b"secret")
        all_sizes = await sizes(blobs, "default")
        assert all_sizes.keys() == ours.keys() | others.keys()
        assert all(all_sizes[blob] >= len(content) for blob, content in (ours | others).items())
        assert (await sizes(blobs, "default", "lobby")).keys() == ours.keys()
        assert (await sizes(blobs, "default", "lobby", NEXT_DAY)).keys() == {tomorrow}
        assert (await sizes(blobs, "default", "", DAY)).keys() == (ours.keys() | others.keys()) - {tomorrow}
        assert {feed: list(days) for feed, days in (await blobs.days("default")).items()} == {
            "lobby": [DAY, NEXT_DAY],
            "北门-1": [DAY],
        }
        assert await sizes(blobs, "absent") == {}
        assert await blobs.days("absent") == {}

    async def test_a_listing_reads_more_than_a_page(self, blobs: BlobStore) -> None:
        contents = [str(number).encode() for number in range(1100)]
        await asyncio.gather(*(blobs.put("default", uri(content), content) for content in contents))
        assert len(await sizes(blobs, "default", "lobby")) == 1100

    async def test_a_blob_that_is_put_again_counts_as_put_now(self, blobs: BlobStore) -> None:
        await blobs.put("default", uri(b"picture"), b"picture")
        ((_, _, first),) = [blob async for blob in blobs.list("default")]
        while (again := [blob.modified async for blob in blobs.list("default")]) == [first]:
            await blobs.put("default", uri(b"picture"), b"picture")
        assert again[0] > first
        await blobs.delete("default", uri(b"picture"), put_before=again[0])
        assert await blobs.get("default", uri(b"picture")) == b"picture"
        await blobs.delete("default", uri(b"picture"), put_before=again[0] + 1)
        with pytest.raises(Missing):
            await blobs.get("default", uri(b"picture"))
        await blobs.delete("default", uri(b"picture"), put_before=again[0] + 1)

    @pytest.mark.parametrize(
        "malformed",
        [
            "blob:default/../etc/passwd",
            f"blob:default/lobby/2026-11-21/{'a' * 63}",
            f"blob:default/../2026-11-21/{'a' * 64}",
            f"blob:default/lobby/2026-11-21/{'a' * 64}/..",
            f"s3:default/lobby/2026-11-21/{'a' * 64}",
            "",
        ],
    )
    async def test_a_malformed_uri_is_refused(self, blobs: BlobStore, malformed: str) -> None:
        with pytest.raises(Refused):
            await blobs.get("default", malformed)
        with pytest.raises(Refused):
            await blobs.put("default", malformed, b"content")
