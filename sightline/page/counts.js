// The tiles of the header: how many frames came in, and what became of them.

import { byId, h } from "./dom.js";
import { count } from "./format.js";

const NEVER_ACCEPTED = "shed"; // Such frames are no part of what came in.

export function showCounts(counts) {
  for (const [state, number] of Object.entries(counts)) {
    if (state !== NEVER_ACCEPTED) (byId(`count-${state}`) ?? addTile(state)).textContent = count(number);
  }
  deadTile().classList.toggle("some", counts.dead > 0);
}

// The server counts frames that left out stages by words that the stages declare.
function addTile(state) {
  const number = h("dd", { id: `count-${state}` });
  const word = h("dt", { title: "Enriched without some stages, on purpose: each event says which and why" }, capitalized(state));
  deadTile().before(h("div", {}, word, number));
  return number;
}

const deadTile = () => document.querySelector(".counts .dead");

const capitalized = (word) => word[0].toUpperCase() + word.slice(1);
