// The page: the live view, the search, and a dialog that shows one frame in full.

import * as api from "./api.js";
import { FrameDialog } from "./dialog.js";
import { byId } from "./dom.js";
import { Live } from "./live.js";
import { Search } from "./search.js";

const open = (frame) => dialog.open(frame);
const search = new Search({ open });
const live = new Live({ open, onFeeds: (names) => search.setFeeds(names) });
const dialog = new FrameDialog({
  similar: (frame) => search.similar(frame),
  neighbors: (frame) => (search.hits.some((hit) => hit.id === frame.id) ? search.hits : live.frames()),
});

// What is scrolled to ends below the bar, whatever the bar's height.
const bar = document.querySelector(".bar");
new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);

dialog.start();
live.start();
api.status().then(
  ({ model_set: modelSet, is_local: isLocal, warnings }) => {
    search.modelSet = modelSet;
    byId("model-set").textContent = modelSet || "no models";
    byId("local").hidden = !isLocal;
    byId("warnings").textContent = warnings.join("; ");
    byId("warnings").hidden = warnings.length === 0;
  },
  () => (byId("model-set").textContent = "unknown"),
);
search.start();
