// The search: by text, by picture, for frames similar to one, or by filters alone; page by page.

import * as address from "./address.js";
import * as api from "./api.js";
import { hitCard } from "./card.js";
import { byId, h } from "./dom.js";
import { failure, interpretation, notices, title } from "./results.js";
import { Sample } from "./sample.js";

const FILTERS = ["feed", "since"];
const TITLE = document.title;

export class Search {
  constructor({ open }) {
    this.open = open;
    this.modelSet = "";
    this.hits = [];
    this.query = null;
    this.sample = new Sample({
      onChosen: () => this.#searchByPicture(),
      onRemoved: () => this.clear(),
      onRefused: (error) => this.#showError(error),
    });
  }

  start() {
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit({ takesFocus: true });
    });
    for (const name of FILTERS) byId(name).addEventListener("change", () => this.#filter());
    byId("unfilter").addEventListener("click", () => this.#unfilter());
    byId("clear").addEventListener("click", () => this.clear());
    byId("more").addEventListener("click", () => this.#showMore());
    this.#followCross();
    this.sample.start();
    window.addEventListener("popstate", () => this.#readAddress());
    this.#readAddress();
    this.#offerExamples();
  }

  setFeeds(names) {
    this.feeds = names;
    const chosen = byId("feed").value;
    const shown = chosen && !names.includes(chosen) ? [...names, chosen] : names; // The chosen one stays, though unknown.
    byId("feed").replaceChildren(h("option", { value: "" }, "all"), ...shown.map((name) => h("option", { value: name }, name)));
    byId("feed").value = chosen;
    if (!byId("examples").hidden) return;
    this.#offerExamples();
  }

  similar(frame) {
    byId("q").value = "";
    this.sample.remove();
    return this.#run({ like: frame.id }, { takesFocus: true });
  }

  clear() {
    this.#reset();
    address.write({});
    this.written = location.search;
    byId("q").focus();
  }

  #submit(options) {
    const q = byId("q").value.trim();
    const like = !q && this.query?.like ? this.query.like : "";
    return this.#run({ q, like }, options);
  }

  // Filters narrow the search that is shown; without one they are the search.
  #filter() {
    return this.#run(this.query ?? { q: byId("q").value.trim() });
  }

  #unfilter() {
    for (const name of FILTERS) byId(name).value = "";
    return this.#filter();
  }

  #searchByPicture() {
    byId("q").value = "";
    return this.#run({}, { takesFocus: true });
  }

  async #run({ q = "", like = "" }, { remember = true, takesFocus = false } = {}) {
    const query = { q, like, feed: byId("feed").value, since: byId("since").value };
    byId("unfilter").hidden = !query.feed && !query.since;
    if (!Object.values(query).some(Boolean) && !this.sample.picture) return this.clear();
    if (like) this.sample.remove();
    this.query = query;
    if (remember) this.#writeAddress();
    const result = await this.#ask({});
    if (!result) return;
    this.hits = result.hits;
    byId("hits").replaceChildren(...this.#cards(result));
    this.#show(result);
    byId("results").scrollIntoView({ block: "start", behavior: "smooth" });
    if (takesFocus) byId("results-title").focus({ preventScroll: true });
  }

  async #showMore() {
    const known = new Set(this.hits.map((hit) => hit.id));
    const result = await this.#ask({ cursor: this.cursor }, (error) => byId("notices").replaceChildren(failure(error.message)));
    if (!result) return;
    const added = { ...result, hits: result.hits.filter((hit) => !known.has(hit.id)) };
    const cards = this.#cards(added);
    this.hits = [...this.hits, ...added.hits];
    byId("hits").append(...cards);
    this.#show(result);
    cards[0]?.querySelector(".view").focus();
  }

  // The result, or null where the search failed or a later one took its place.
  async #ask({ cursor = "" }, onError = (error) => this.#showError(error)) {
    this.running?.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    this.#setBusy(true);
    try {
      return await api.search({ ...this.query, picture: this.sample.picture, cursor }, signal);
    } catch (error) {
      if (error.name !== "AbortError") onError(error);
      return null;
    } finally {
      if (!signal.aborted) this.#setBusy(false);
    }
  }

  #cards({ hits }) {
    return hits.map((frame) => hitCard(frame, this.open));
  }

  #show(result) {
    const { feed, since, like } = this.query;
    this.cursor = result.cursor;
    const sinceText = since && byId("since").selectedOptions[0].textContent;
    const suggestion = (text, number) => this.#suggestion(text, number);
    const found = title(this.hits, result);
    byId("results").hidden = false;
    byId("more").hidden = !result.cursor;
    byId("understood").replaceChildren(...interpretation(result, { picture: this.sample.picture, like, feed, sinceText }));
    byId("notices").replaceChildren(...notices(result, { hits: this.hits, modelSet: this.modelSet, isNarrowed: Boolean(feed || since), isSimilar: Boolean(like || this.sample.picture), suggestion }));
    byId("results-title").textContent = found;
    byId("outcome").textContent = this.hits.length ? `${found} found` : found;
    this.#setTitle(this.query.q || (this.sample.picture && "Similar to a picture") || (like && "Similar frames") || [feed, sinceText].filter(Boolean).join(", "));
  }

  #showError(error) {
    this.hits = [];
    byId("results").hidden = false;
    byId("more").hidden = true;
    byId("results-title").textContent = "The search failed";
    byId("understood").replaceChildren();
    byId("hits").replaceChildren();
    byId("notices").replaceChildren(failure(error.message));
    byId("outcome").textContent = error.message;
    this.#setTitle("");
  }

  #setTitle(query) {
    document.title = query ? `${query} · ${TITLE}` : TITLE;
  }

  #setBusy(busy) {
    byId("search-form").classList.toggle("busy", busy);
    byId("hits").setAttribute("aria-busy", busy);
    byId("more").disabled = busy;
  }

  #suggestion(text, number) {
    const search = () => {
      this.sample.remove();
      byId("q").value = text;
      this.#run({ q: text }, { takesFocus: true });
    };
    return h("button", { type: "button", class: "chip", onclick: search }, text, number ? h("small", {}, String(number)) : null);
  }

  // Only queries that find something here; none while nothing is indexed.
  async #offerExamples() {
    const { examples } = await api.examples().catch(() => ({ examples: [] }));
    byId("examples").hidden = !examples.length;
    byId("examples").replaceChildren(h("span", {}, "Try"), ...examples.map((text) => this.#suggestion(text)));
    if (examples.length) byId("q").placeholder = examples[0];
  }

  // The cross in the field empties it, which Enter in an empty field does not: both are "search" events.
  #followCross() {
    let entered = false;
    byId("q").addEventListener("keydown", (event) => (entered = event.key === "Enter"));
    byId("q").addEventListener("search", () => {
      if (!entered && !byId("q").value && this.query?.q) this.#submit({});
      entered = false;
    });
  }

  #reset() {
    this.running?.abort();
    this.#setBusy(false);
    this.query = null;
    this.hits = [];
    this.sample.remove();
    byId("q").value = "";
    for (const name of FILTERS) byId(name).value = "";
    byId("unfilter").hidden = true;
    byId("results").hidden = true;
    byId("outcome").textContent = "";
    this.#setTitle("");
  }

  // A picture has no address; its filters have.
  #writeAddress() {
    address.write(this.query);
    this.written = location.search;
  }

  // Back from a dialog leaves the address, and the results, as they are.
  #readAddress() {
    if (location.search === this.written) return;
    this.written = location.search;
    const query = address.read();
    this.#reset();
    byId("q").value = query.q;
    for (const name of FILTERS) choose(byId(name), query[name]);
    if (Object.values(query).some(Boolean)) this.#run(query, { remember: false });
  }
}

function choose(select, value) {
  if (![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value));
  select.value = value;
}
