// Asking: a text, a picture, or more like one that is there; and saying plainly when nothing matches.

import * as api from "./api.js";
import { card } from "./card.js";
import { byId, h } from "./dom.js";
import { family, percent, plural } from "./format.js";

const EXAMPLES = ["a red circle, but no square", "a cartoon of a blue star", "a yellow triangle above a circle", "-cartoon"];
const LARGEST_BYTES = 16 * 1024 * 1024;

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
      this.ask({ q: byId("q").value.trim() });
    });
    for (const name of ["feed", "since"]) byId(name).addEventListener("change", () => this.asked && this.ask(this.asked));
    byId("clear").addEventListener("click", () => this.clear());
    byId("q").addEventListener("search", () => byId("q").value || this.picture || this.clear());
    byId("file").addEventListener("change", () => this.#take(byId("file").files[0]));
    byId("examples").append(...EXAMPLES.map((text) => this.#example(text)));
    this.#dropping();
    window.addEventListener("popstate", () => this.#fromAddress());
    this.#fromAddress();
  }

  feeds(names) {
    const chosen = byId("feed").value;
    byId("feed").replaceChildren(h("option", { value: "" }, "all"), ...names.map((name) => h("option", { value: name }, name)));
    byId("feed").value = names.includes(chosen) ? chosen : "";
  }

  async ask(asked, { remember = true } = {}) {
    const nothing = !asked.q && !asked.like && !this.picture && !byId("feed").value && !byId("since").value;
    if (nothing) return this.clear();
    this.asked = asked;
    if (asked.like) this.#forgetPicture();
    if (remember && !this.picture) this.#toAddress(asked);
    this.#busy(true);
    this.running?.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    try {
      const result = await api.search({ ...asked, feed: byId("feed").value, since: byId("since").value, picture: this.picture }, signal);
      this.#show(result);
    } catch (error) {
      if (error.name !== "AbortError") this.#failed(error);
    } finally {
      if (!signal.aborted) this.#busy(false);
    }
  }

  similar(frame) {
    byId("q").value = "";
    return this.ask({ like: frame.id, frame });
  }

  clear() {
    this.running?.abort();
    this.asked = null;
    this.hits = [];
    this.#forgetPicture();
    byId("q").value = "";
    byId("results").hidden = true;
    byId("outcome").textContent = "";
    if (location.search) history.pushState(null, "", location.pathname);
    byId("q").focus();
  }

  #show(result) {
    this.hits = result.hits;
    byId("results").hidden = false;
    byId("understood").replaceChildren(...this.#understood(result));
    byId("hits").replaceChildren(...result.hits.map((frame) => card(frame, this.open)));
    byId("notices").replaceChildren(...this.#notices(result));
    byId("outcome").textContent = result.hits.length ? `${plural(result.hits.length, "picture")} found` : "Nothing matches";
    byId("results-title").textContent = result.hits.length ? plural(result.hits.length, "picture") : "Nothing matches";
    byId("results").scrollIntoView({ block: "start", behavior: "smooth" });
  }

  #understood(result) {
    const parts = [];
    if (this.picture) parts.push(h("span", { class: "wanted" }, "like your picture"));
    if (this.asked.like) parts.push(h("span", { class: "wanted" }, "more like this"));
    if (result.text) parts.push(h("span", { class: "wanted" }, result.text));
    return [...parts, ...result.negatives.map((text) => h("span", { class: "unwanted", title: "Left out" }, `without ${text}`))];
  }

  #notices(result) {
    const found = [];
    if (result.unknown_words.length) found.push(this.#unknown(result));
    if (result.nothing_matches || !result.hits.length) found.push(this.#nothing(result));
    else if (!result.calibrated && result.hits[0].probability === null && (result.text || this.picture || this.asked.like)) found.push(uncalibrated());
    return found;
  }

  #unknown(result) {
    const words = result.unknown_words.flatMap((word) => [h("b", {}, word), ", "]).slice(0, -1);
    const rest = result.text ? [" Searched for ", h("b", {}, result.text), " instead."] : [];
    return h("p", { class: "notice warn" }, `The ${family(this.modelSet)} models do not know: `, ...words, ".", ...rest);
  }

  #nothing({ best, contents }) {
    const close = best ? ` The nearest picture is a match with a probability of ${percent(best)}.` : "";
    const there = contents ? inside(contents).map(([text, number]) => this.#example(text, number)) : [];
    return h(
      "div",
      { class: "notice nothing" },
      h("h3", {}, "Nothing matches"),
      h("p", {}, contents?.pictures === 0 ? "The index is still empty." : `No picture here shows that.${close}`),
      there.length ? h("p", { class: "examples" }, h("span", {}, `In these ${plural(contents.pictures, "picture")}`), there) : null,
    );
  }

  #example(text, number) {
    const ask = () => {
      this.#forgetPicture();
      byId("q").value = text;
      this.ask({ q: text });
    };
    return h("button", { type: "button", class: "chip", onclick: ask }, text, number ? h("small", {}, String(number)) : null);
  }

  #failed(error) {
    this.hits = [];
    byId("results").hidden = false;
    byId("results-title").textContent = "That did not work";
    byId("understood").replaceChildren();
    byId("hits").replaceChildren();
    byId("notices").replaceChildren(h("p", { class: "notice warn" }, `${error.message[0].toUpperCase()}${error.message.slice(1)}.`));
    byId("outcome").textContent = error.message;
  }

  #busy(busy) {
    byId("search-form").classList.toggle("busy", busy);
    byId("hits").setAttribute("aria-busy", busy);
  }

  #take(file) {
    if (!file) return;
    this.#forgetPicture();
    byId("q").value = "";
    if (file.size > LARGEST_BYTES) return this.#failed(new Error("a picture may have at most 16 MB"));
    this.picture = file;
    this.preview = URL.createObjectURL(file);
    const remove = h("button", { type: "button", class: "close", "aria-label": "Remove the picture", onclick: () => this.clear() }, "×");
    byId("sample").replaceChildren(h("img", { src: this.preview, alt: "The picture that is looked for" }), remove);
    byId("sample").hidden = false;
    this.ask({ q: "" });
  }

  #forgetPicture() {
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.picture = this.preview = null;
    byId("sample").hidden = true;
    byId("sample").replaceChildren();
    byId("file").value = "";
  }

  #dropping() {
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
      this.#take([...event.dataTransfer.files].find((file) => file.type.startsWith("image/")));
    });
    window.addEventListener("paste", (event) => this.#take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  }

  #toAddress({ q, like }) {
    const address = new URLSearchParams();
    if (q) address.set("q", q);
    if (like) address.set("like", like);
    const target = `${location.pathname}${address.size ? `?${address}` : ""}`;
    if (target !== location.pathname + location.search) history.pushState(null, "", target);
  }

  #fromAddress() {
    const address = new URLSearchParams(location.search);
    const [q, like] = [address.get("q") ?? "", address.get("like") ?? ""];
    byId("q").value = q;
    this.#forgetPicture();
    if (q || like) this.ask({ q, like }, { remember: false });
    else byId("results").hidden = true;
  }
}

// Phrases tell more than labels; labels that no phrase mentions come after.
function inside({ phrases, labels }) {
  const mentioned = Object.keys(phrases).join(" ");
  return [...Object.entries(phrases), ...Object.entries(labels).filter(([label]) => !mentioned.includes(label))].slice(0, 14);
}

function uncalibrated() {
  const command = h("code", {}, "sightline calibrate");
  return h("p", { class: "notice" }, "These models are uncalibrated: scores are cosines, and nothing is left out for being unlikely. ", command, " mends that.");
}
