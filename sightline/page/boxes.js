// What was found, drawn over a picture in the pixels of its original: an SVG scales as the picture does.

import { svg } from "./dom.js";
import { percent } from "./format.js";

const HUES = [158, 38, 205, 330, 265, 12, 95, 185];

function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619);
  return value >>> 0;
}

const places = new Map();

// One label has one colour on every picture, its own as long as there are enough: the next free one after its hash.
export function colour(label) {
  if (!places.has(label)) {
    const taken = new Set(places.values());
    const first = hash(label) % HUES.length;
    const free = HUES.map((_, step) => (first + step) % HUES.length).find((place) => !taken.has(place));
    places.set(label, free ?? first);
  }
  return `hsl(${HUES[places.get(label)]} 95% 66%)`;
}

// `named`: labels are written, in letters of that part of the picture; 0 leaves them out.
export function overlay(frame, { fit = "slice", named = 0 } = {}) {
  const width = frame.width || 1;
  const height = frame.height || 1;
  return svg(
    "svg",
    { class: "boxes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: `xMidYMid ${fit}`, "aria-hidden": "true" },
    frame.detections.map((found, place) => box(found, place, { width, height, named })),
  );
}

function box(found, place, { width, height, named }) {
  const [x1, y1, x2, y2] = found.box;
  const where = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0), rx: Math.min(width, height) / 100 };
  return svg(
    "g",
    { class: "box", "data-place": place },
    svg("rect", { ...where, class: "halo" }),
    svg("rect", { ...where, class: "line", stroke: colour(found.label) }),
    named ? tag(found, { x1, y1, width, height, named }) : null,
  );
}

function tag(found, { x1, y1, width, height, named }) {
  const size = Math.max(width, height) / named;
  const text = `${found.label} ${percent(found.confidence)}`;
  const long = text.length * size * 0.58 + size;
  const x = Math.max(0, Math.min(x1, width - long));
  const y = y1 > size * 1.6 ? y1 - size * 1.6 : y1;
  return svg(
    "g",
    { class: "tag" },
    svg("rect", { x, y, width: long, height: size * 1.5, rx: size * 0.3, fill: colour(found.label) }),
    svg("text", { x: x + size / 2, y: y + size * 1.08, "font-size": size }, text),
  );
}
