// The search: by text, by picture, or for frames similar to one; when nothing matches, it says so.

import * as api from "./api.js";
import { card } from "./card.js";
import { byId, h } from "./dom.js";
import { family, percent, plural } from "./format.js";

const EXAMPLES = ["a red circle, but no square", "a cartoon of a blue star", "a yellow triangle above a circle", "-cartoon"];
const MAX_PICTURE_BYTES = 16 * 1024 * 1024;
const MAX_SUGGESTIONS = 14;

/** Many systems do not know the type of a phone's HEIC: then its name counts. */
const isPicture = (file) => file.type.startsWith("image/") || /\.(heic|heif|hif|avif)$/i.test(file.name);

export class Search {
  constructor({ open }) {
    this.open = open;
    this.modelSet = "";
    this.hits = [];
    this.picture = null;
  }

  start() {
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.search({ q: byId("q").value.trim() });
    });
    for (const name of ["feed", "since"]) byId(name).addEventListener("change", () => this.query && this.search(this.query));
    byId("clear").addEventListener("click", () => this.clear());
    byId("q").addEventListener("search", () => byId("q").value || this.picture || this.clear());
    byId("file").addEventListener("change", () => this.#searchByFile(byId("file").files[0]));
    byId("examples").append(...EXAMPLES.map((text) => this.#suggestion(text)));
    this.#acceptFiles();
    window.addEventListener("popstate", () => this.#readAddress());
    this.#readAddress();
  }

  setFeeds(names) {
    const chosen = byId("feed").value;
    byId("feed").replaceChildren(h("option", { value: "" }, "all"), ...names.map((name) => h("option", { value: name }, name)));
    byId("feed").value = names.includes(chosen) ? chosen : "";
  }

  async search(query, { remember = true } = {}) {
    const empty = !query.q && !query.like && !this.picture && !byId("feed").value && !byId("since").value;
    if (empty) return this.clear();
    this.query = query;
    if (query.like) this.#removePicture();
    if (remember && !this.picture) this.#writeAddress(query);
    this.#setBusy(true);
    this.running?.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    try {
      const result = await api.search({ ...query, feed: byId("feed").value, since: byId("since").value, picture: this.picture }, signal);
      this.#show(result);
    } catch (error) {
      if (error.name !== "AbortError") this.#showError(error);
    } finally {
      if (!signal.aborted) this.#setBusy(false);
    }
  }

  similar(frame) {
    byId("q").value = "";
    return this.search({ like: frame.id, frame });
  }

  clear() {
    this.running?.abort();
    this.query = null;
    this.hits = [];
    this.#removePicture();
    byId("q").value = "";
    byId("results").hidden = true;
    byId("outcome").textContent = "";
    if (location.search) history.pushState(null, "", location.pathname);
    byId("q").focus();
  }

  #show(result) {
    this.hits = result.hits;
    byId("results").hidden = false;
    byId("understood").replaceChildren(...this.#interpretation(result));
    byId("hits").replaceChildren(...result.hits.map((frame) => card(frame, this.open)));
    byId("notices").replaceChildren(...this.#notices(result));
    byId("outcome").textContent = result.hits.length ? `${plural(result.hits.length, "picture")} found` : "Nothing matches";
    byId("results-title").textContent = result.hits.length ? plural(result.hits.length, "picture") : "Nothing matches";
    byId("results").scrollIntoView({ block: "start", behavior: "smooth" });
  }

  #interpretation(result) {
    const parts = [];
    if (this.picture) parts.push(h("span", { class: "wanted" }, "similar to your picture"));
    if (this.query.like) parts.push(h("span", { class: "wanted" }, "similar to this frame"));
    if (result.text) parts.push(h("span", { class: "wanted" }, result.text));
    return [...parts, ...result.negatives.map((text) => h("span", { class: "unwanted", title: "Excluded" }, `without ${text}`))];
  }

  #notices(result) {
    const notices = [];
    if (result.unknown_words.length) notices.push(this.#unknownWords(result));
    if (result.nothing_matches || !result.hits.length) notices.push(this.#nothingMatches(result));
    else if (!result.calibrated && result.hits[0].probability === null && (result.text || this.picture || this.query.like)) notices.push(uncalibrated());
    return notices;
  }

  #unknownWords(result) {
    const words = result.unknown_words.flatMap((word) => [h("b", {}, word), ", "]).slice(0, -1);
    const rest = result.text ? [" The search was for ", h("b", {}, result.text), "."] : [];
    return h("p", { class: "notice warn" }, `The ${family(this.modelSet)} models do not know: `, ...words, ".", ...rest);
  }

  #nothingMatches({ best, contents }) {
    const closest = best ? ` The closest one matches with a probability of ${percent(best)}.` : "";
    const suggestions = contents ? frequent(contents).map(([text, number]) => this.#suggestion(text, number)) : [];
    return h(
      "div",
      { class: "notice nothing" },
      h("h3", {}, "Nothing matches"),
      h("p", {}, contents?.pictures === 0 ? "The index is empty." : `No picture in the index shows that.${closest}`),
      suggestions.length ? h("p", { class: "examples" }, h("span", {}, `Frequent in ${plural(contents.pictures, "picture")}`), suggestions) : null,
    );
  }

  #suggestion(text, number) {
    const search = () => {
      this.#removePicture();
      byId("q").value = text;
      this.search({ q: text });
    };
    return h("button", { type: "button", class: "chip", onclick: search }, text, number ? h("small", {}, String(number)) : null);
  }

  #showError(error) {
    this.hits = [];
    byId("results").hidden = false;
    byId("results-title").textContent = "The search failed";
    byId("understood").replaceChildren();
    byId("hits").replaceChildren();
    byId("notices").replaceChildren(h("p", { class: "notice warn" }, `${error.message[0].toUpperCase()}${error.message.slice(1)}.`));
    byId("outcome").textContent = error.message;
  }

  #setBusy(busy) {
    byId("search-form").classList.toggle("busy", busy);
    byId("hits").setAttribute("aria-busy", busy);
  }

  #searchByFile(file) {
    if (!file) return;
    this.#removePicture();
    byId("q").value = "";
    if (file.size > MAX_PICTURE_BYTES) return this.#showError(new Error("the picture is larger than 16 MB; choose a smaller one"));
    this.picture = file;
    this.preview = URL.createObjectURL(file);
    const remove = h("button", { type: "button", class: "close", "aria-label": "Remove the picture", onclick: () => this.clear() }, "×");
    byId("sample").replaceChildren(h("img", { src: this.preview, alt: "The picture to search by" }), remove);
    byId("sample").hidden = false;
    this.search({ q: "" });
  }

  #removePicture() {
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.picture = this.preview = null;
    byId("sample").hidden = true;
    byId("sample").replaceChildren();
    byId("file").value = "";
  }

  #acceptFiles() {
    const veil = byId("drop");
    const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    window.addEventListener("dragover", (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      veil.hidden = false;
    });
    window.addEventListener("dragleave", (event) => (veil.hidden = event.relatedTarget === null || veil.hidden));
    window.addEventListener("drop", (event) => {
      event.preventDefault();
      veil.hidden = true;
      this.#searchByFile([...event.dataTransfer.files].find(isPicture));
    });
    window.addEventListener("paste", (event) => this.#searchByFile([...event.clipboardData.files].find(isPicture)));
  }

  #writeAddress({ q, like }) {
    const address = new URLSearchParams();
    if (q) address.set("q", q);
    if (like) address.set("like", like);
    const target = `${location.pathname}${address.size ? `?${address}` : ""}`;
    if (target !== location.pathname + location.search) history.pushState(null, "", target);
  }

  #readAddress() {
    const address = new URLSearchParams(location.search);
    const [q, like] = [address.get("q") ?? "", address.get("like") ?? ""];
    byId("q").value = q;
    this.#removePicture();
    if (q || like) this.search({ q, like }, { remember: false });
    else byId("results").hidden = true;
  }
}

// What the index holds most often: phrases first, then labels that no phrase mentions.
function frequent({ phrases, labels }) {
  const mentioned = Object.keys(phrases).join(" ");
  return [...Object.entries(phrases), ...Object.entries(labels).filter(([label]) => !mentioned.includes(label))].slice(0, MAX_SUGGESTIONS);
}

function uncalibrated() {
  const command = h("code", {}, "sightline calibrate");
  return h("p", { class: "notice" }, "These models are not calibrated: scores are cosine similarities, and improbable matches are shown too. Run ", command, " to turn scores into probabilities.");
}
