// One picture in a grid: what it shows, where and when it was taken, and how likely it is what was asked for.

import { pictureUrl } from "./api.js";
import { overlay } from "./boxes.js";
import { h } from "./dom.js";
import { ago, exact, percent, plural, sentences } from "./format.js";

export function describe(frame) {
  if (frame.caption) return sentences(frame.caption);
  if (frame.detections.length) return frame.detections.map((found) => found.label).join(", ");
  return gated(frame) ? "Nothing new" : "Nothing described";
}

export const gated = (frame) => Object.values(frame.skipped ?? {}).some((reason) => reason.startsWith("gate:"));

export function when(frame) {
  const moment = frame.captured ?? frame.published ?? frame.ingested;
  return moment ? h("time", { datetime: moment, title: exact(moment) }, ago(moment)) : null;
}

export function refreshTimes(root = document) {
  for (const element of root.querySelectorAll("time")) element.textContent = ago(element.dateTime);
}

export function picture(frame, { kind = "thumbnail", fit = "slice", named = 0 } = {}) {
  const image = h("img", { src: pictureUrl(frame.id, kind), alt: describe(frame), decoding: "async" });
  return [image, overlay(frame, { fit, named })];
}

export function card(frame, open) {
  return h(
    "article",
    { class: "card", "data-id": frame.id },
    h("button", { type: "button", class: "view", title: "Look closer", onclick: () => open(frame) }, picture(frame), chance(frame)),
    h("p", { class: "caption" }, describe(frame)),
    h("p", { class: "meta" }, h("span", { class: "feed" }, frame.feed), when(frame), found(frame)),
  );
}

function found(frame) {
  if (gated(frame)) return h("span", { class: "gated", title: Object.values(frame.skipped).join(", ") }, "gated");
  return frame.detections.length ? h("span", {}, plural(frame.detections.length, "object")) : null;
}

function chance(frame) {
  if (frame.probability === undefined) return null;
  if (frame.probability === null) return h("span", { class: "chance", title: "Cosine: these models are not calibrated" }, frame.score.toFixed(3));
  return h("span", { class: "chance", title: "Probability that this is what was asked for" }, percent(frame.probability));
}
