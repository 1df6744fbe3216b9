"""Searches on the page: filters, pages of results, scenes, the address, and what people are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Site, pictures

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]


WENT_BACK = """() => new Promise((done) => {
    if (history.state === null) done();
    else addEventListener("popstate", () => done(), { once: true });
})"""
SCROLLED = """() => new Promise((done) => {
    const look = () => (scrollY > 100 ? done() : requestAnimationFrame(look));
    look();
})"""


async def ask(page: Page, text: str) -> None:
    await page.fill("#q", text)
    await page.press("#q", "Enter")
    await expect(page.locator("#search-form")).not_to_have_class("busy")
    await expect(page.locator("#results")).to_be_visible()


async def test_a_feed_alone_is_a_search_that_lasts_and_can_be_cleared(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await expect(page.locator("#feed option")).to_have_count(3)
    await page.select_option("#feed", "yard")
    await expect(page.locator("#hits .card")).to_have_count(3)
    await page.focus("#q")
    await page.keyboard.press("Enter")
    await expect(page.locator("#hits .card")).to_have_count(3)
    await expect(page.locator("#results-title")).to_have_text("3 pictures")
    await expect(page.locator("#hits .chance")).to_have_count(0)
    assert page.url == f"{site.url}/?feed=yard"
    await page.select_option("#since", "1d")
    await page.reload()
    await expect(page.locator("#hits .card")).to_have_count(3)
    await expect(page.locator("#feed")).to_have_value("yard")
    await expect(page.locator("#since")).to_have_value("1d")
    await expect(page.locator("#understood")).to_have_text("in yardlast day")
    await ask(page, "-square")
    assert page.url == f"{site.url}/?q=-square&feed=yard&since=1d"
    await page.click("#unfilter")
    await expect(page.locator("#hits .card")).to_have_count(4)
    assert page.url == f"{site.url}/?q=-square"
    await expect(page.locator("#unfilter")).to_be_hidden()


async def test_results_go_on_and_the_count_is_no_false_total(crowded_site: Site, page: Page) -> None:
    await page.goto(f"{crowded_site.url}/?q=-hexagon")
    await expect(page.locator("#hits .card")).to_have_count(5)
    await expect(page.locator("#results-title")).to_have_text("5 scenes of 15 pictures")
    await page.click("#more")
    await expect(page.locator("#hits .card")).to_have_count(10)
    await expect(page.locator("#hits .card:nth-child(6) .view")).to_be_focused()
    await page.click("#more")
    await expect(page.locator("#hits .card")).to_have_count(12)
    await expect(page.locator("#results-title")).to_have_text("15 pictures in 12 scenes")
    await expect(page.locator("#more")).to_be_hidden()
    ids = [await card.get_attribute("data-id") for card in await page.locator("#hits .card").all()]
    assert len(set(ids)) == 12


async def test_pictures_of_one_scene_are_one_result_that_unfolds(crowded_site: Site, page: Page) -> None:
    await page.goto(f"{crowded_site.url}/?q=-hexagon")
    folded = page.locator("#hits .card", has_text="3 more pictures of this scene")
    await expect(folded).to_have_count(1)
    button = folded.locator(".similar")
    await button.click()
    await expect(button).to_have_attribute("aria-expanded", "true")
    await expect(folded.locator(".strip img")).to_have_count(3)
    await folded.locator(".strip button").first.click()
    await expect(page.locator("#frame")).to_be_visible()
    caption = await folded.locator(".caption").inner_text()
    await expect(page.locator("#frame-title")).to_have_text(caption)


async def test_examples_are_offered_once_they_find_something(empty_site: Site, page: Page) -> None:
    await page.goto(empty_site.url)
    await expect(page.locator("#pulse-text")).to_have_text("Live")
    await expect(page.locator("#examples")).to_be_hidden()
    await empty_site.world.add(pictures(), feed="lobby")
    await expect(page.locator("#examples .chip").first).to_be_visible()
    for text in await page.locator("#examples .chip").all_inner_texts():
        await page.locator("#examples .chip", has_text=re.compile(f"^{re.escape(text)}$")).click()
        await expect(page.locator("#search-form")).not_to_have_class("busy")
        await expect(page.locator("#hits .card").first).to_be_visible()
        await expect(page.locator("#q")).to_have_value(text)
        await page.click("#clear")


async def test_enter_leads_to_the_results_and_names_the_tab(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await ask(page, "-square")
    await expect(page.locator("#results-title")).to_be_focused()
    await expect(page).to_have_title("-square · Sightline")
    await page.click("#clear")
    await expect(page.locator("#q")).to_be_focused()
    await expect(page).to_have_title("Sightline")


async def test_back_closes_the_dialog_and_keeps_the_results(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await ask(page, "-square")
    await page.locator("#hits .view").first.click()
    await expect(page.locator("#frame")).to_be_visible()
    await page.go_back()
    await expect(page.locator("#frame")).to_be_hidden()
    await expect(page.locator("#hits .card")).to_have_count(4)
    assert page.url == f"{site.url}/?q=-square"
    await page.locator("#hits .view").first.click()
    await page.keyboard.press("Escape")
    await expect(page.locator("#frame")).to_be_hidden()
    await page.evaluate(WENT_BACK)
    await page.go_back()
    await expect(page.locator("#results")).to_be_hidden()
    assert page.url == f"{site.url}/"


async def test_back_from_similar_frames_leads_to_the_search_before(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/?q=-square")
    await page.locator("#hits .view").first.click()
    shown = await page.locator("#hits .card").first.get_attribute("data-id")
    await page.locator("#frame-actions button").click()
    await expect(page.locator("#understood")).to_have_text("similar to this frame")
    assert page.url == f"{site.url}/?like={shown}"
    await expect(page.locator(f'#hits [data-id="{shown}"]')).to_have_count(0)
    await page.go_back()
    await expect(page.locator("#understood")).to_have_text("without square")
    assert page.url == f"{site.url}/?q=-square"


async def test_a_result_names_its_origin_and_its_time_with_the_zone(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/?feed=yard")
    first = page.locator("#hits .card").first
    await expect(first.locator(".origin")).to_have_text(re.compile(r"^[0-9a-f]{8}\.jpg$"))
    await expect(first.locator("time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d (UTC|GMT|[A-Z]{3,4})"))
    await first.locator(".view").click()
    await expect(page.locator("#frame .facts")).to_contain_text("Origin")
    await expect(page.locator("#frame .facts")).to_contain_text(await first.locator(".origin").inner_text())


async def test_the_heading_stays_below_the_bar_on_a_phone(site: Site, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 700})
    await page.goto(site.url)
    await ask(page, "-square")
    await expect(page.locator("#hits .card")).to_have_count(4)
    await page.evaluate(SCROLLED)
    bar, heading = await page.locator(".bar").bounding_box(), await page.locator("#results-title").bounding_box()
    assert bar is not None
    assert heading is not None
    assert heading["y"] >= bar["y"] + bar["height"]
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_what_goes_wrong_is_told_in_sentences(site: Site, page: Page, errors: list[str], tmp_path: Path) -> None:
    notices = page.locator("#notices")
    await page.goto(f"{site.url}/?like=zzz")
    await expect(notices).to_contain_text("'zzz' is no picture's id")
    await page.goto(f"{site.url}/?q=circle&feed=lobbi")
    await expect(notices).to_contain_text("There is no feed 'lobbi' in the index; nearest: lobby.")
    await expect(page.locator("#feed")).to_have_value("lobbi")
    await page.click("#clear")
    binary = tmp_path / "picture.jpg"
    binary.write_bytes(bytes(range(64)))
    await page.set_input_files("#file", binary)
    await expect(notices).to_contain_text("This is no picture of a kind that is read; send JPEG")
    await page.click("#clear")
    await page.context.set_offline(True)
    await ask(page, "circle")
    await expect(notices).to_have_text("The server cannot be reached; check that it still runs, and try again.")
    await page.context.set_offline(False)
    errors.clear()


async def test_local_is_only_said_where_it_is_true(site: Site, empty_site: Site, page: Page) -> None:
    await page.goto(site.url)
    await expect(page.locator("#model-set")).to_have_text("tiny-test")
    await expect(page.locator("#local")).to_be_hidden()
    await page.goto(empty_site.url)
    await expect(page.locator("#local")).to_be_visible()
