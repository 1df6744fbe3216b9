// Detections drawn over a picture: an SVG in the original's pixels, which scales as the picture does.

import { svg } from "./dom.js";
import { percent } from "./format.js";

const HUES = [158, 38, 205, 330, 265, 12, 95, 185];

function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619);
  return value >>> 0;
}

const hueOfLabel = new Map(); // Label to index in HUES.

// A label has the same color on every picture. While there are enough, no two labels share one: a label takes the
// first free color from its hash on.
export function color(label) {
  if (!hueOfLabel.has(label)) {
    const taken = new Set(hueOfLabel.values());
    const first = hash(label) % HUES.length;
    const free = HUES.map((_, step) => (first + step) % HUES.length).find((index) => !taken.has(index));
    hueOfLabel.set(label, free ?? first);
  }
  return `hsl(${HUES[hueOfLabel.get(label)]} 95% 66%)`;
}

// With `lettersPerSide`, labels are written, in letters of that fraction of the longer side; 0 leaves them out.
export function overlay(frame, { fit = "slice", lettersPerSide = 0 } = {}) {
  const width = frame.width || 1;
  const height = frame.height || 1;
  return svg(
    "svg",
    { class: "boxes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: `xMidYMid ${fit}`, "aria-hidden": "true" },
    frame.detections.map((detection, index) => box(detection, index, { width, height, lettersPerSide })),
  );
}

function box(detection, index, { width, height, lettersPerSide }) {
  const [x1, y1, x2, y2] = detection.box;
  const area = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0), rx: Math.min(width, height) / 100 };
  return svg(
    "g",
    { class: "box", "data-index": index },
    svg("rect", { ...area, class: "halo" }),
    svg("rect", { ...area, class: "line", stroke: color(detection.label) }),
    lettersPerSide ? tag(detection, { x1, y1, width, height, lettersPerSide }) : null,
  );
}

function tag(detection, { x1, y1, width, height, lettersPerSide }) {
  const size = Math.max(width, height) / lettersPerSide;
  const text = `${detection.label} ${percent(detection.confidence)}`;
  const tagWidth = text.length * size * 0.58 + size;
  const x = Math.max(0, Math.min(x1, width - tagWidth));
  const y = y1 > size * 1.6 ? y1 - size * 1.6 : y1;
  return svg(
    "g",
    { class: "tag" },
    svg("rect", { x, y, width: tagWidth, height: size * 1.5, rx: size * 0.3, fill: color(detection.label) }),
    svg("text", { x: x + size / 2, y: y + size * 1.08, "font-size": size }, text),
  );
}
