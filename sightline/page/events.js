// The stream of events, one for all tabs of a browser: a browser opens no more than six connections to a host, and a
// seventh tab with a stream of its own would wait until another closes. One visible tab holds the lock, reads the stream and tells
// the others; a hidden tab takes part in nothing, and gives the lock to the next.

const NAME = "sightline-events";
const MAX_KEPT_FRAMES = 24;

export class SharedEvents {
  constructor({ onStatus, onFrame, onConnection }) {
    this.receivers = { status: onStatus, frame: onFrame, connection: onConnection };
    this.name = String(Math.random());
    this.latest = { status: null, connection: null, frames: [] };
    this.release = null;
  }

  start() {
    document.addEventListener("visibilitychange", () => this.#update());
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", () => this.#update());
    this.#update();
  }

  #update() {
    if (document.visibilityState === "hidden") this.#leave();
    else this.#join();
  }

  #join() {
    if (this.joined) return;
    this.joined = new AbortController();
    if (!navigator.locks) return void this.#read(); // Outside localhost and HTTPS there are none: a visible tab reads for itself.
    this.channel = new BroadcastChannel(NAME);
    this.channel.addEventListener("message", ({ data }) => this.#hear(data));
    this.channel.postMessage({ kind: "ask", from: this.name });
    navigator.locks.request(NAME, { signal: this.joined.signal }, () => this.#read()).catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
  }

  #leave() {
    this.joined?.abort();
    this.release?.();
    this.source?.close();
    this.channel?.close();
    this.joined = this.release = this.source = this.channel = null;
  }

  // Until this tab leaves. With the lock it is the only tab that reads.
  #read() {
    this.source = new EventSource("/api/events");
    this.source.addEventListener("open", () => this.#tell("connection", true));
    this.source.addEventListener("error", () => this.#tell("connection", false));
    this.source.addEventListener("status", (message) => this.#tell("status", JSON.parse(message.data)));
    this.source.addEventListener("frame", (message) => this.#tell("frame", JSON.parse(message.data)));
    return new Promise((resolve) => (this.release = resolve));
  }

  #tell(kind, content) {
    if (kind === "frame") this.latest.frames = [...this.latest.frames, content].slice(-MAX_KEPT_FRAMES);
    else this.latest[kind] = content;
    this.receivers[kind](content);
    this.channel?.postMessage({ kind, content });
  }

  #hear({ kind, content, from, to }) {
    if (kind === "ask") return this.source && this.channel.postMessage({ kind: "latest", content: this.latest, to: from });
    if (kind !== "latest") return this.receivers[kind](content);
    if (to !== this.name) return;
    if (content.connection !== null) this.receivers.connection(content.connection);
    if (content.status) this.receivers.status(content.status);
    for (const frame of content.frames) this.receivers.frame(frame);
  }
}
