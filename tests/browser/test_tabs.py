"""Many tabs on one server, hidden ones, and a paused live view."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Site, noisy, pictures
from tests.browser.world import Shown

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]
HIDE = """(state) => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""A headless browser shows all of its tabs."""


def many(number: int) -> list[Shown]:
    from dataclasses import replace

    (first, *_) = pictures(seed=7)
    return [replace(first, rendered=replace(first.rendered, image=noisy(first, n))) for n in range(number)]


async def test_eight_tabs_share_one_stream_and_all_can_search(site: Site, browser: Browser) -> None:
    context = await browser.new_context()
    streams: list[str] = []
    context.on("request", lambda request: streams.append(request.url) if request.url.endswith("/api/events") else None)
    tabs = [await context.new_page() for _ in range(8)]
    for tab in tabs:
        await tab.goto(site.url, timeout=20_000)
        await expect(tab.locator("#pulse-text")).to_have_text("Live", timeout=20_000)
        await expect(tab.locator("#count-in")).to_have_text("7")
        await expect(tab.locator(".tile")).to_have_count(2)
    assert len(streams) == 1
    await tabs[-1].fill("#q", "-square")
    await tabs[-1].press("#q", "Enter")
    await expect(tabs[-1].locator("#hits .card")).to_have_count(4)
    await context.close()


async def test_a_hidden_tab_closes_its_stream_and_another_takes_over(empty_site: Site, browser: Browser) -> None:
    context = await browser.new_context()
    opened, closed = [], []
    context.on("request", lambda request: opened.append(request.frame.page) if "/api/events" in request.url else None)
    context.on("requestfailed", lambda request: closed.append(request.url) if "/api/events" in request.url else None)
    first, second = await context.new_page(), await context.new_page()
    for tab in (first, second):
        await tab.goto(empty_site.url)
        await expect(tab.locator("#pulse-text")).to_have_text("Live")
    assert opened == [first]
    await first.evaluate(HIDE, "hidden")
    await empty_site.world.add(pictures()[:1], feed="lobby")
    await expect(second.locator('.tile[data-feed="lobby"] img')).to_be_visible()
    assert opened == [first, second]
    assert len(closed) == 1
    await expect(first.locator(".tile")).to_have_count(0)
    await first.evaluate(HIDE, "visible")
    await expect(first.locator('.tile[data-feed="lobby"] img')).to_be_visible()
    assert opened == [first, second]
    await context.close()


async def test_a_paused_page_counts_all_that_waits(empty_site: Site, page: Page) -> None:
    await page.goto(empty_site.url)
    await expect(page.locator("#pulse-text")).to_have_text("Live")
    made = many(40)
    await empty_site.world.add(made[:1], feed="lobby")
    await expect(page.locator(".tile img")).to_be_visible()
    await page.click("#pause")
    await empty_site.world.add(made[1:], feed="lobby")
    await expect(page.locator("#live-hint")).to_have_text("39 new frames waiting")
    await page.click("#pause")
    await expect(page.locator("#live-hint")).to_have_text("")
