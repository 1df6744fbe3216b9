// The dialog that shows one frame: the picture with its detections, and everything that is known about it.

import * as address from "./address.js";
import * as api from "./api.js";
import { color } from "./boxes.js";
import { describe, picture } from "./card.js";
import { byId, h } from "./dom.js";
import { duration, exact, percent } from "./format.js";

export class FrameDialog {
  constructor({ similar, neighbors }) {
    this.similar = similar;
    this.neighbors = neighbors;
    this.dialog = byId("frame");
  }

  start() {
    address.forgetDialog(); // Of a page that was loaded again.
    window.addEventListener("popstate", () => this.dialog.open && this.dialog.close());
    this.dialog.addEventListener("close", () => address.isOfDialog() && !this.leaving && history.back());
    byId("frame-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight") this.#step(1);
      if (event.key === "ArrowLeft") this.#step(-1);
    });
  }

  async open(frame) {
    this.frame = frame;
    const fitted = h("div", { class: "fitted" }, picture(frame, { kind: "image", fit: "meet", lettersPerSide: 56 }));
    fitted.style.aspectRatio = `${frame.width || 4} / ${frame.height || 3}`;
    byId("frame-picture").replaceChildren(fitted);
    byId("frame-feed").textContent = frame.feed;
    byId("frame-title").textContent = describe(frame);
    byId("frame-body").replaceChildren(objects(frame, byId("frame-picture")), facts(frame));
    byId("frame-actions").replaceChildren(...this.#actions(frame));
    if (!this.dialog.open) {
      this.leaving = false;
      address.addDialog();
      this.dialog.showModal();
    }
    byId("frame-title").focus();
    const event = await api.frame(frame.id).catch(() => null);
    if (event && this.frame === frame) byId("frame-body").replaceChildren(objects(frame, byId("frame-picture")), facts(frame, event), stages(event), json(event));
  }

  #actions(frame) {
    const link = (kind, text) => h("a", { href: api.pictureUrl(frame.id, kind), target: "_blank", rel: "noopener" }, text);
    const searchSimilar = () => {
      this.leaving = true; // The search takes the dialog's place in the history.
      this.dialog.close();
      this.similar(frame);
    };
    return [h("button", { type: "button", class: "go", onclick: searchSimilar }, "More like this"), link("image", "Original"), link("annotated", "Annotated")];
  }

  #step(by) {
    const frames = this.neighbors(this.frame);
    const next = frames[frames.findIndex((frame) => frame.id === this.frame.id) + by];
    if (next) this.open(next);
  }
}

function objects(frame, view) {
  if (!frame.detections.length) return h("p", { class: "hint" }, "No objects were detected.");
  const mark = (index, on) => view.querySelector(`[data-index="${index}"]`)?.classList.toggle("marked", on);
  return h(
    "ul",
    { class: "objects" },
    frame.detections.map((detection, index) =>
      h(
        "li",
        { onmouseenter: () => mark(index, true), onmouseleave: () => mark(index, false) },
        swatch(detection.label),
        h("span", {}, detection.label),
        detection.track ? h("small", { title: "Track" }, `#${detection.track}`) : null,
        h("b", {}, percent(detection.confidence)),
      ),
    ),
  );
}

function swatch(label) {
  const element = h("i", { class: "swatch", "aria-hidden": "true" });
  element.style.background = color(label);
  return element;
}

function facts(frame, event) {
  const rows = [
    ["Origin", frame.origin],
    ["Captured", frame.captured && exact(frame.captured)],
    ["Published", frame.published && exact(frame.published)],
    ["Latency", event?.published && duration((Date.parse(event.published) - Date.parse(event.ingested)) / 1000)],
    ["Size", frame.width && `${frame.width} × ${frame.height}`],
    ["Match", typeof frame.probability === "number" && percent(frame.probability)],
    ["Skipped", (event?.skipped ?? []).map((entry) => `${entry.stage} (${entry.reason})`).join(", ")],
    ["Models", event?.model_set],
    ["Frame", frame.id],
  ];
  return h("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function stages(event) {
  const computed = (event.trace ?? []).filter((entry) => entry.compute_seconds > 0);
  if (!computed.length) return "";
  const longest = Math.max(...computed.map((entry) => entry.compute_seconds));
  return h("details", {}, h("summary", {}, "Stages"), h("ul", { class: "work" }, computed.map((entry) => stage(entry, longest))));
}

function stage(entry, longest) {
  const bar = h("i", { "aria-hidden": "true" });
  bar.style.width = `${Math.max(2, (100 * entry.compute_seconds) / longest)}%`;
  const title = [entry.model, entry.revision].filter(Boolean).join(" ");
  return h("li", { title }, h("span", {}, entry.stage), h("span", { class: "track" }, bar), h("b", {}, duration(entry.compute_seconds)));
}

function json(event) {
  return h("details", {}, h("summary", {}, "Event"), h("pre", { tabindex: 0 }, JSON.stringify(event, null, 2)));
}
