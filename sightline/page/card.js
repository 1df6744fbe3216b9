// A card: one picture in a grid with its description, feed, time and, in search results, the probability of a match.

import { pictureUrl } from "./api.js";
import { overlay } from "./boxes.js";
import { h } from "./dom.js";
import { ago, exact, percent, plural, sentences } from "./format.js";

export function describe(frame) {
  if (frame.caption) return sentences(frame.caption);
  if (frame.detections.length) return frame.detections.map((detection) => detection.label).join(", ");
  return frame.skip_state ? "Nothing new" : "No description";
}

export function when(frame) {
  const moment = frame.captured ?? frame.published ?? frame.ingested;
  return moment ? h("time", { datetime: moment, title: exact(moment) }, ago(moment)) : null;
}

export function refreshTimes(root = document) {
  for (const element of root.querySelectorAll("time")) element.textContent = ago(element.dateTime);
}

export function picture(frame, { kind = "thumbnail", fit = "slice", lettersPerSide = 0 } = {}) {
  const image = h("img", { src: pictureUrl(frame.id, kind), alt: describe(frame), decoding: "async" });
  return [image, overlay(frame, { fit, lettersPerSide })];
}

export function card(frame, open) {
  return h(
    "article",
    { class: "card", "data-id": frame.id },
    h("button", { type: "button", class: "view", title: "Open this frame", onclick: () => open(frame) }, picture(frame), match(frame)),
    h("p", { class: "caption" }, describe(frame)),
    h("p", { class: "meta" }, h("span", { class: "feed" }, frame.feed), when(frame), summary(frame)),
  );
}

// The word for skipped stages comes from the server; the reasons stand in the tooltip.
function summary(frame) {
  if (frame.skip_state) return h("span", { class: "skipped", title: Object.values(frame.skipped).join(", ") }, frame.skip_state);
  return frame.detections.length ? h("span", {}, plural(frame.detections.length, "object")) : null;
}

function match(frame) {
  if (frame.probability === undefined) return null;
  if (frame.probability === null) return h("span", { class: "chance", title: "Cosine similarity: these models are not calibrated" }, frame.score.toFixed(3));
  return h("span", { class: "chance", title: "Probability of a match" }, percent(frame.probability));
}
