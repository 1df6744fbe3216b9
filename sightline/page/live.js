// The live view: one large picture a feed, replaced in place, and below it the frames that came before.

import { card, describe, picture, refreshTimes, when } from "./card.js";
import { showCounts } from "./counts.js";
import { byId, h } from "./dom.js";
import { SharedEvents } from "./events.js";
import { plural } from "./format.js";

const MAX_TILES = 6;
const MAX_EARLIER = 24;
const TILE_MILLISECONDS = 900; // A tile changes no more often: the eye sees faster changes as noise.
const FIRST_MILLISECONDS = 60; // The first frames come together; this is long enough to show the newest of them.
const TIMES_MILLISECONDS = 4000;
const MAX_SEEN = 1000; // Ids of received frames: a stream that is opened again begins with frames that are known.

export class Live {
  constructor({ open, onFeeds }) {
    this.open = open;
    this.onFeeds = onFeeds;
    this.tiles = new Map();
    this.waiting = [];
    this.arrived = 0; // Frames since the last ones were shown, those that were not sent included.
    this.seen = new Set();
    this.shown = [];
    this.paused = false;
    this.feedNames = "";
  }

  start() {
    new SharedEvents({
      onStatus: (status) => this.#status(status),
      onFrame: (frame) => this.#receive(frame),
      onConnection: (open) => this.#connection(open ? "live" : "away", open ? "Live" : "Reconnecting"),
    }).start();
    document.addEventListener("visibilitychange", () => (this.interrupted = this.paused));
    byId("pause").addEventListener("click", () => this.#pause(!this.paused));
    setInterval(() => this.#flush(), TILE_MILLISECONDS);
    setInterval(() => refreshTimes(), TIMES_MILLISECONDS);
  }

  frames() {
    return this.shown;
  }

  #status({ counts, feeds, log }) {
    showCounts(counts);
    this.enriched = counts.enriched;
    byId("empty").hidden = counts.enriched > 0 || this.tiles.size > 0;
    this.#connection(log ? "live" : "away", log ? "Live" : "Log unavailable");
    const names = Object.keys(feeds);
    if (names.join() === this.feedNames) return;
    this.feedNames = names.join();
    this.onFeeds(names);
  }

  #receive(frame) {
    if (this.seen.has(frame.id)) return;
    this.seen.add(frame.id);
    if (this.seen.size > MAX_SEEN) this.seen.delete(this.seen.values().next().value);
    this.arrived += 1 + (frame.passed_over ?? 0);
    this.waiting.push(frame);
    if (this.waiting.length > MAX_EARLIER) this.waiting.shift();
    if (this.shown.length === 0 && this.waiting.length === 1) setTimeout(() => this.#flush(), FIRST_MILLISECONDS);
  }

  #flush() {
    if (this.paused || this.waiting.length === 0) {
      const number = this.paused ? this.#waitingFrames() : 0;
      byId("live-hint").textContent = number ? `${plural(number, "new frame")} waiting` : "";
      return;
    }
    byId("live-hint").textContent = "";
    const received = this.waiting.splice(0);
    this.arrived = 0;
    byId("empty").hidden = true;
    this.#countUnchanged(received.filter((frame) => this.#isUnchanged(frame)));
    const changed = received.filter((frame) => !this.#isUnchanged(frame));
    const newest = new Map(changed.map((frame) => [frame.feed, frame]));
    const replaced = [...newest.values()].map((frame) => this.#show(frame)).filter(Boolean);
    const onTiles = new Set([...newest.values()].map((frame) => frame.id));
    this.#addEarlier([...changed.filter((frame) => !onTiles.has(frame.id)), ...replaced]);
    this.shown = [...[...this.tiles.values()].map((tile) => tile.frame), ...this.earlier];
  }

  // A hidden tab receives nothing; what came meanwhile is in the counts.
  #waitingFrames() {
    return this.interrupted ? Math.max(this.arrived, this.enriched - this.enrichedBefore) : this.arrived;
  }

  // A frame that left out stages brings no newer result: the tile keeps its picture with the boxes, and counts it.
  #isUnchanged(frame) {
    return Boolean(frame.skip_state) && this.tiles.has(frame.feed);
  }

  #countUnchanged(frames) {
    for (const frame of frames) {
      const tile = this.tiles.get(frame.feed);
      tile.unchanged += 1;
      tile.note.textContent = `nothing new in ${plural(tile.unchanged, "frame")}`;
    }
  }

  // Shows `frame` on its feed's tile and returns the frame that was there before.
  #show(frame) {
    const tile = this.tiles.get(frame.feed) ?? this.#addTile(frame.feed);
    const before = tile.frame;
    if (before?.id === frame.id) return null;
    tile.frame = frame;
    tile.unchanged = 0;
    tile.note.textContent = "";
    const [image, boxes] = picture(frame, { kind: "image", lettersPerSide: 40 });
    image.decode().then(
      () => {
        if (tile.frame !== frame) return;
        tile.view.replaceChildren(image, boxes);
        tile.caption.textContent = describe(frame);
        tile.meta.replaceChildren(h("span", { class: "feed" }, frame.feed), when(frame) ?? "", tile.note);
        tile.element.classList.remove("new");
      },
      () => tile.element.classList.remove("new"), // The picture is gone: the tile keeps the one before.
    );
    return before;
  }

  #addTile(feed) {
    const tile = { unchanged: 0, note: h("span", { class: "note" }) };
    tile.view = h("button", { type: "button", class: "view", title: "Open this frame", onclick: () => tile.frame && this.open(tile.frame) });
    tile.caption = h("p", { class: "caption" });
    tile.meta = h("p", { class: "meta" }, h("span", { class: "feed" }, feed));
    tile.element = h("article", { class: "tile new", "data-feed": feed }, tile.view, h("div", { class: "under" }, tile.caption, tile.meta));
    this.tiles.set(feed, tile);
    if (this.tiles.size > MAX_TILES) this.#removeOldestTile();
    byId("wall").append(tile.element);
    byId("wall").dataset.tiles = this.tiles.size;
    return tile;
  }

  #removeOldestTile() {
    const published = (tile) => tile.frame?.published ?? "9";
    const [feed, oldest] = [...this.tiles].sort(([, a], [, b]) => (published(a) < published(b) ? -1 : 1))[0];
    oldest.element.remove();
    this.tiles.delete(feed);
  }

  earlier = [];

  #addEarlier(frames) {
    const ids = new Set(this.earlier.map((frame) => frame.id));
    const added = frames.filter((frame) => !ids.has(frame.id)).sort((a, b) => (a.published < b.published ? 1 : -1));
    if (!added.length) return;
    byId("latest").prepend(...added.map((frame) => card(frame, this.open)));
    byId("latest-title").hidden = false;
    this.earlier = [...added, ...this.earlier].slice(0, MAX_EARLIER);
    while (byId("latest").children.length > MAX_EARLIER) byId("latest").lastElementChild.remove();
  }

  #pause(paused) {
    this.paused = paused;
    this.interrupted = false;
    this.enrichedBefore = this.enriched;
    byId("pause").setAttribute("aria-pressed", paused);
    byId("pause").textContent = paused ? "Continue" : "Pause";
    this.#flush();
  }

  #connection(state, text) {
    byId("pulse").dataset.state = state;
    if (byId("pulse-text").textContent !== text) byId("pulse-text").textContent = text;
  }
}
