// A card: one picture in a grid with its description, feed, time and, in search results, the probability of a match.

import * as api from "./api.js";
import { overlay } from "./boxes.js";
import { h } from "./dom.js";
import { ago, exact, percent, plural, sentences } from "./format.js";

const MAX_SIMILAR = 60; // Thumbnails of one scene that are shown at once.

export function describe(frame) {
  if (frame.out_of_domain) return "Not described: unlike the pictures that these models were trained on";
  if (frame.caption) return sentences(frame.caption);
  if (frame.detections.length) return frame.detections.map((detection) => detection.label).join(", ");
  return frame.skip_state ? "Nothing new" : "No description";
}

const moment = (frame) => frame.captured ?? frame.ingested; // what filters by time use

export function when(frame) {
  return moment(frame) ? h("time", { datetime: moment(frame), title: exact(moment(frame)), "data-ago": true }, ago(moment(frame))) : null;
}

const exactly = (frame) => (moment(frame) ? h("time", { datetime: moment(frame), title: ago(moment(frame)) }, exact(moment(frame))) : null);

export function refreshTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-ago]")) element.textContent = ago(element.dateTime);
}

export function picture(frame, { kind = "thumbnail", fit = "slice", lettersPerSide = 0 } = {}) {
  const image = h("img", { src: api.pictureUrl(frame.id, kind), alt: describe(frame), decoding: "async" });
  const boxes = overlay(frame, { fit, lettersPerSide });
  image.addEventListener("error", () => (kind === "thumbnail" || image.dataset.small ? placeholder(frame, image, boxes) : shrink(frame, image)));
  return [image, boxes];
}

// The thumbnail in the place of an original that is gone, with the reason below it.
function shrink(frame, image) {
  image.dataset.small = true;
  image.src = api.pictureUrl(frame.id);
  api.whyNoPicture(frame.id, "image").then((error) => error && image.isConnected && image.after(h("p", { class: "why" }, sentences(error.message))));
}

// A word in the place of a picture that is lost, erased or damaged, and a sentence where retention has removed it.
function placeholder(frame, image, boxes) {
  const word = h("span", { class: "no-picture", role: "img", "aria-label": `${describe(frame)} (no picture)` }, "No picture");
  image.parentElement?.querySelector(".why")?.remove();
  image.replaceWith(word);
  boxes?.remove();
  api.whyNoPicture(frame.id).then((error) => {
    word.setAttribute("title", error?.message ?? "");
    if (error?.code === "removed_by_retention") word.textContent = sentences(error.message);
  });
}

export function card(frame, open) {
  return h("article", { class: "card", "data-id": frame.id }, view(frame, open), h("p", { class: "caption" }, describe(frame)), meta(frame, when(frame)));
}

// A result names the picture's origin and its exact time, and unfolds the pictures that it stands for.
export function hitCard(frame, open) {
  const article = card(frame, open);
  article.querySelector(".meta").replaceWith(meta(frame, exactly(frame)));
  if (frame.origin) article.append(h("p", { class: "origin", title: frame.origin }, h("bdi", {}, frame.origin)));
  if (frame.similar?.length) article.append(...scene(frame, open));
  return article;
}

const view = (frame, open) => h("button", { type: "button", class: "view", title: "Open this frame", onclick: () => open(frame) }, picture(frame), match(frame));

const meta = (frame, time) => h("p", { class: "meta" }, h("span", { class: "feed" }, frame.feed), time, summary(frame));

function scene({ similar }, open) {
  const strip = h("div", { class: "strip", hidden: true });
  const toggle = () => {
    if (!strip.childElementCount) strip.append(...similar.slice(0, MAX_SIMILAR).map((id) => thumbnail(id, open)));
    strip.hidden = !strip.hidden;
    button.setAttribute("aria-expanded", !strip.hidden);
  };
  const button = h("button", { type: "button", class: "chip similar", "aria-expanded": "false", onclick: toggle }, `${plural(similar.length, "more picture")} of this scene`);
  return [button, strip];
}

function thumbnail(id, open) {
  const show = () => api.card(id).then(open, () => button.remove()); // Forgotten meanwhile.
  const button = h("button", { type: "button", title: "Open this frame", onclick: show }, h("img", { src: api.pictureUrl(id), alt: "", loading: "lazy" }));
  button.firstChild.addEventListener("error", (event) => event.target.replaceWith("No picture"));
  return button;
}

// The word for skipped stages comes from the server; the reasons stand in the tooltip.
function summary(frame) {
  if (frame.skip_state) return h("span", { class: "skipped", title: Object.values(frame.skipped).join(", ") }, frame.skip_state);
  return frame.detections.length ? h("span", {}, plural(frame.detections.length, "object")) : null;
}

function match(frame) {
  if (frame.out_of_domain) return h("span", { class: "chance", title: "What these models say of such pictures means nothing" }, "unknown kind");
  if (typeof frame.probability === "number") return h("span", { class: "chance", title: "Probability of a match" }, percent(frame.probability));
  if (typeof frame.score !== "number") return null;
  return h("span", { class: "chance", title: "Cosine similarity: these models are not calibrated" }, frame.score.toFixed(3));
}
