"""The page as people use it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from schemas.retention import Trimmed
from streams.lifecycle.kept_frames import trimmed_record
from tests.browser.conftest import Site, pictures
from tests.browser.world import TENANT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]


async def ask(page: Page, text: str) -> None:
    await page.fill("#q", text)
    await page.press("#q", "Enter")
    await expect(page.locator("#search-form")).not_to_have_class("busy")
    await expect(page.locator("#results")).to_be_visible()


async def test_an_empty_page_shows_how_to_begin(empty_site: Site, page: Page) -> None:
    await page.goto(empty_site.url)
    await expect(page.locator("#empty")).to_contain_text("sightline ingest")
    await expect(page.locator("#pulse-text")).to_have_text("Live")
    await expect(page.locator("#count-in")).to_have_text("0")


async def test_new_pictures_appear_on_the_open_page(empty_site: Site, page: Page) -> None:
    await page.goto(empty_site.url)
    await expect(page.locator("#pulse-text")).to_have_text("Live")
    made = pictures()
    await empty_site.world.add(made[:1], feed="lobby")
    tile = page.locator('.tile[data-feed="lobby"]')
    await expect(tile.locator("img")).to_have_attribute("alt", sentences(made[0].caption))
    await expect(tile.locator(".box")).to_have_count(1)
    await empty_site.world.add(made[1:2], feed="lobby")
    await expect(tile.locator("img")).to_have_attribute("alt", sentences(made[1].caption))
    await expect(tile.locator(".box")).to_have_count(2)
    await expect(page.locator("#latest .card")).to_have_count(1)
    await expect(page.locator("#empty")).to_be_hidden()


async def test_boxes_lie_on_their_objects(site: Site, page: Page) -> None:
    await page.goto(site.url)
    tile = page.locator('.tile[data-feed="lobby"]')
    await expect(tile.locator(".box")).to_have_count(2)
    drawn = await tile.locator(".box").first.locator(".line").bounding_box()
    view = await tile.locator(".view").bounding_box()
    assert drawn is not None
    assert view is not None
    last = site.pictures[2].rendered
    x1, y1, _, _ = last.boxes[0]
    assert (drawn["x"] - view["x"]) / view["width"] == pytest.approx(x1 / last.image.shape[1], abs=0.02)
    assert (drawn["y"] - view["y"]) / view["height"] == pytest.approx(y1 / last.image.shape[0], abs=0.02)


async def test_the_header_counts_frames_by_state(site: Site, page: Page) -> None:
    await page.goto(site.url)
    for name, count in (("in", "7"), ("enriched", "7"), ("gated", "1"), ("dead", "0")):
        await expect(page.locator(f"#count-{name}")).to_have_text(count)
    await expect(page.locator("#model-set")).to_have_text("tiny-test")
    await expect(page.locator("#feed option")).to_have_text(["all", "lobby", "yard"])


async def test_excluded_things_are_not_shown(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await ask(page, "a red circle, but no square")
    await expect(page.locator("#understood .wanted")).to_have_text("a red circle")
    await expect(page.locator("#understood .unwanted")).to_have_text("without square")
    alts = [await image.get_attribute("alt") or "" for image in await page.locator("#hits img").all()]
    assert all("square" not in alt for alt in alts)
    await ask(page, "-square")
    await expect(page.locator("#hits .card")).to_have_count(4)
    await ask(page, '-"red square"')
    await expect(page.locator("#hits .card")).to_have_count(5)


async def test_a_feed_narrows_the_search(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await ask(page, "-square")
    await page.select_option("#feed", "lobby")
    await expect(page.locator("#hits .card")).to_have_count(2)
    await expect(page.locator("#hits .feed")).to_have_text(["lobby", "lobby"])


async def test_unknown_words_and_an_empty_result_are_explained(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await ask(page, "a dog")
    await expect(page.locator("#notices")).to_contain_text("The tiny models do not know: dog")
    await expect(page.locator("#notices")).to_contain_text("Nothing to search for is left")
    await expect(page.locator("#notices .chip").first).to_be_visible()
    await expect(page.locator("#outcome")).to_have_text("Nothing matches")


async def test_a_dropped_picture_finds_itself(site: Site, page: Page) -> None:
    await page.goto(site.url)
    wanted = site.pictures[4]
    picture = await page.evaluate_handle(
        """(bytes) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "one.jpg", { type: "image/jpeg" }));
            return carried;
        }""",
        list(wanted.jpeg),
    )
    await page.dispatch_event("body", "drop", {"dataTransfer": picture})
    await expect(page.locator("#sample img")).to_be_visible()
    await expect(page.locator("#hits img").first).to_have_attribute("alt", sentences(wanted.caption))


async def test_a_file_that_is_no_picture_is_refused_with_a_message(
    site: Site, page: Page, errors: list[str], tmp_path: Path
) -> None:
    fake = tmp_path / "fake.jpg"
    fake.write_bytes(b"no picture at all")
    await page.goto(site.url)
    async with page.expect_response("**/api/search/image*") as answer:
        await page.set_input_files("#file", fake)
    assert (await answer.value).status == 422
    await expect(page.locator("#notices")).to_contain_text("This is no picture of a kind that is read")
    assert "422" in errors.pop()


async def test_the_dialog_shows_one_frame(site: Site, page: Page) -> None:
    await page.goto(site.url)
    tile = page.locator('.tile[data-feed="lobby"]')
    await expect(tile.locator(".box")).to_have_count(2)
    await tile.locator(".view").click()
    dialog = page.locator("#frame")
    await expect(dialog.locator(".objects li")).to_have_count(2)
    await expect(dialog).to_contain_text("tiny-test")
    await dialog.locator("summary", has_text="Event").click()
    event = json.loads(await dialog.locator("pre").inner_text())
    assert event["feed"] == "lobby"
    assert "embeddings" not in event
    await dialog.locator("button", has_text="More like this").click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator("#understood")).to_have_text("similar to this frame")
    await expect(page.locator("#notices")).to_contain_text("No other picture is similar enough.")


async def test_a_search_has_an_address_and_works_by_keyboard(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/?q=-square")
    await expect(page.locator("#hits .card")).to_have_count(4)
    await page.locator("#hits .view").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#frame")).to_be_visible()
    title = await page.locator("#frame-title").inner_text()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#frame-title")).not_to_have_text(title)
    await page.keyboard.press("Escape")
    await expect(page.locator("#frame")).to_be_hidden()
    await page.locator("#clear").click()
    assert page.url == f"{site.url}/"


def sentences(caption: str) -> str:
    """As the page writes it."""
    return ". ".join(part[:1].upper() + part[1:] for part in caption.split(". "))


async def test_a_picture_that_is_gone_has_a_word_in_its_place(empty_site: Site, page: Page, errors: list[str]) -> None:
    made = pictures()[:2]
    events = await empty_site.world.add(made, feed="lobby")
    for uri in filter(None, (events[0].image.uri, events[0].image.thumbnail)):
        await empty_site.world.blobs.delete(events[0].tenant, uri)
    await page.goto(empty_site.url)
    await ask(page, "feed:lobby")
    card = page.locator(f'#hits .card[data-id="{events[0].id}"]')
    await expect(card.locator(".no-picture")).to_have_text("No picture")
    await expect(card.locator(".no-picture")).to_have_attribute("title", "this picture is no longer stored")
    await expect(card.locator("img")).to_have_count(0)
    await expect(page.locator(f'#hits .card[data-id="{events[1].id}"] img')).to_have_count(1)
    errors[:] = [error for error in errors if "404" not in error]


async def test_a_picture_that_retention_removed_is_its_thumbnail_or_a_sentence(
    empty_site: Site, page: Page, errors: list[str], tmp_path: Path
) -> None:
    first, second = await empty_site.world.add(pictures()[:2], feed="lobby", thumbnails=True)
    for uri in (first.image.uri, second.image.uri, second.image.thumbnail):
        await empty_site.world.blobs.delete(TENANT, uri)
    removed = Trimmed(tenant=TENANT, feed="lobby", before=datetime(2100, 1, 1, tzinfo=UTC))
    await empty_site.world.transport.publish([trimmed_record(removed)])
    sentence = "This picture was removed by retention: of feed lobby it keeps pictures from 2100-01-01 00:00 UTC on"
    await page.goto(empty_site.url)
    await ask(page, "feed:lobby")
    await expect(page.locator(f'#hits .card[data-id="{second.id}"] .no-picture')).to_have_text(sentence)
    card = page.locator(f'#hits .card[data-id="{first.id}"]')
    await expect(card.locator("img")).to_have_count(1)
    await card.locator(".view").click()
    await expect(page.locator("#frame-picture .why")).to_have_text(sentence)
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert await page.locator("#frame-picture img").evaluate(width) > 0, "the thumbnail is shown"
    await page.screenshot(path=tmp_path / "removed.png")
    errors[:] = [error for error in errors if "410" not in error]
