// The picture to search by: chosen, dropped or pasted.

import { byId, h } from "./dom.js";

const MAX_PICTURE_BYTES = 16 * 1024 * 1024;

/** Many systems do not know the type of a phone's HEIC: then its name counts. */
const isPicture = (file) => file.type.startsWith("image/") || /\.(heic|heif|hif|avif)$/i.test(file.name);

export class Sample {
  constructor({ onChosen, onRemoved, onRefused }) {
    this.onChosen = onChosen;
    this.onRemoved = onRemoved;
    this.onRefused = onRefused;
    this.picture = null;
  }

  start() {
    byId("file").addEventListener("change", () => this.#choose(byId("file").files[0]));
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
      this.#chooseFrom(event.dataTransfer.files);
    });
    window.addEventListener("paste", (event) => event.clipboardData.files.length && this.#chooseFrom(event.clipboardData.files));
  }

  remove() {
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.picture = this.preview = null;
    byId("sample").hidden = true;
    byId("sample").replaceChildren();
    byId("file").value = "";
  }

  #chooseFrom(files) {
    const file = [...files].find(isPicture);
    if (file) this.#choose(file);
    else if (files.length) this.onRefused(new Error("that is no picture; choose a JPEG, PNG, WebP, GIF, HEIC or AVIF"));
  }

  #choose(file) {
    if (!file) return;
    this.remove();
    if (file.size > MAX_PICTURE_BYTES) return this.onRefused(new Error("the picture is larger than 16 MB; choose a smaller one"));
    this.picture = file;
    this.preview = URL.createObjectURL(file);
    const remove = h("button", { type: "button", class: "close", "aria-label": "Remove the picture", onclick: () => this.onRemoved() }, "×");
    byId("sample").replaceChildren(h("img", { src: this.preview, alt: "The picture to search by" }), remove);
    byId("sample").hidden = false;
    this.onChosen();
  }
}
