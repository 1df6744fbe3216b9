// What happens now: one large picture a feed, changed in place, and below it what came just before.

import { card, describe, gated, picture, refreshTimes, when } from "./card.js";
import { byId, h } from "./dom.js";
import { count, plural } from "./format.js";

const MOST_FEEDS = 6;
const MOST_LATEST = 24;
const CALM_MILLISECONDS = 900; // A tile changes at most so often: faster is noise to the eye.
const SETTLED_MILLISECONDS = 60; // The first frames come together: the newest are shown at once.
const AGEING_MILLISECONDS = 4000;

export class Live {
  constructor({ open, onFeeds }) {
    this.open = open;
    this.onFeeds = onFeeds;
    this.tiles = new Map();
    this.waiting = [];
    this.known = [];
    this.paused = false;
    this.feeds = "";
  }

  start() {
    this.source = new EventSource("/api/events");
    this.source.addEventListener("open", () => this.#pulse("live", "Live"));
    this.source.addEventListener("error", () => this.#pulse("away", "Reconnecting"));
    this.source.addEventListener("status", (message) => this.#status(JSON.parse(message.data)));
    this.source.addEventListener("frame", (message) => this.#arrived(JSON.parse(message.data)));
    window.addEventListener("pagehide", () => this.source.close());
    byId("pause").addEventListener("click", () => this.#pause(!this.paused));
    setInterval(() => this.#flush(), CALM_MILLISECONDS);
    setInterval(() => refreshTimes(), AGEING_MILLISECONDS);
  }

  frames() {
    return this.known;
  }

  #status({ counts, feeds, log }) {
    for (const name of ["in", "enriched", "gated", "dead"]) byId(`count-${name}`).textContent = count(counts[name]);
    document.querySelector(".counts .dead").classList.toggle("some", counts.dead > 0);
    this.#pulse(log ? "live" : "away", log ? "Live" : "Log is away");
    const names = Object.keys(feeds);
    if (names.join() === this.feeds) return;
    this.feeds = names.join();
    this.onFeeds(names);
  }

  #arrived(frame) {
    this.waiting.push(frame);
    if (this.waiting.length > MOST_LATEST) this.waiting.shift();
    if (this.known.length === 0 && this.waiting.length === 1) setTimeout(() => this.#flush(), SETTLED_MILLISECONDS);
  }

  #flush() {
    if (this.paused || this.waiting.length === 0) {
      byId("live-hint").textContent = this.paused && this.waiting.length ? `${plural(this.waiting.length, "new frame")} waiting` : "";
      return;
    }
    const fresh = this.waiting.splice(0);
    byId("empty").hidden = true;
    this.#unchanged(fresh.filter((frame) => gated(frame) && this.tiles.has(frame.feed)));
    const telling = fresh.filter((frame) => !gated(frame) || !this.tiles.has(frame.feed));
    const newest = new Map(telling.map((frame) => [frame.feed, frame]));
    const replaced = [...newest.values()].map((frame) => this.#show(frame)).filter(Boolean);
    const shown = new Set([...newest.values()].map((frame) => frame.id));
    this.#before([...telling.filter((frame) => !shown.has(frame.id)), ...replaced]);
    this.known = [...[...this.tiles.values()].map((tile) => tile.frame), ...this.earlier];
  }

  // A gated frame shows nothing new: the tile keeps the picture with its boxes, and says so.
  #unchanged(frames) {
    for (const frame of frames) {
      const tile = this.tiles.get(frame.feed);
      tile.gated += 1;
      tile.note.textContent = `nothing new in ${plural(tile.gated, "frame")}`;
    }
  }

  // The feed's tile shows `frame`; returns the frame that it showed before.
  #show(frame) {
    const tile = this.tiles.get(frame.feed) ?? this.#tile(frame.feed);
    const before = tile.frame;
    if (before?.id === frame.id) return null;
    tile.frame = frame;
    tile.gated = 0;
    tile.note.textContent = "";
    const [image, boxes] = picture(frame, { kind: "image", named: 40 });
    image.decode().then(
      () => {
        if (tile.frame !== frame) return;
        tile.view.replaceChildren(image, boxes);
        tile.caption.textContent = describe(frame);
        tile.meta.replaceChildren(h("span", { class: "feed" }, frame.feed), when(frame) ?? "", tile.note);
        tile.element.classList.remove("new");
      },
      () => tile.element.classList.remove("new"),
    );
    return before;
  }

  #tile(feed) {
    const tile = { gated: 0, note: h("span", { class: "note" }) };
    tile.view = h("button", { type: "button", class: "view", title: "Look closer", onclick: () => tile.frame && this.open(tile.frame) });
    tile.caption = h("p", { class: "caption" });
    tile.meta = h("p", { class: "meta" }, h("span", { class: "feed" }, feed));
    tile.element = h("article", { class: "tile new", "data-feed": feed }, tile.view, h("div", { class: "under" }, tile.caption, tile.meta));
    this.tiles.set(feed, tile);
    if (this.tiles.size > MOST_FEEDS) this.#dropOldest();
    byId("wall").append(tile.element);
    byId("wall").dataset.tiles = this.tiles.size;
    return tile;
  }

  #dropOldest() {
    const age = (tile) => tile.frame?.published ?? "9";
    const [feed, oldest] = [...this.tiles].sort(([, a], [, b]) => (age(a) < age(b) ? -1 : 1))[0];
    oldest.element.remove();
    this.tiles.delete(feed);
  }

  earlier = [];

  #before(frames) {
    const there = new Set(this.earlier.map((frame) => frame.id));
    const added = frames.filter((frame) => !there.has(frame.id)).sort((a, b) => (a.published < b.published ? 1 : -1));
    if (!added.length) return;
    byId("latest").prepend(...added.map((frame) => card(frame, this.open)));
    byId("latest-title").hidden = false;
    this.earlier = [...added, ...this.earlier].slice(0, MOST_LATEST);
    while (byId("latest").children.length > MOST_LATEST) byId("latest").lastElementChild.remove();
  }

  #pause(paused) {
    this.paused = paused;
    byId("pause").setAttribute("aria-pressed", paused);
    byId("pause").textContent = paused ? "Continue" : "Pause";
    this.#flush();
  }

  #pulse(state, text) {
    byId("pulse").dataset.state = state;
    if (byId("pulse-text").textContent !== text) byId("pulse-text").textContent = text;
  }
}
