// The places where a network can run. All turn a picture into the same thing:
// {mask, size: [height, width], stages: [[name, milliseconds], ...]}.

import { decodeMask } from "./png.js";

const KEY = "topseg-key";

/** The service that this page came from. */
export class ServerEngine {
  name = "server";
  promise = "Images are sent to this server.";
  note = "";

  constructor(model) {
    this.model = model;
  }

  async load() {}

  async segment(picture) {
    const blob = await picture.file();
    const start = performance.now();
    const response = await this.#post(blob);
    const body = await response.arrayBuffer();
    const trip = performance.now() - start;
    const inside = serverTiming(response.headers.get("Server-Timing"));
    const { mask, size } = await decodeMask(body);
    const sum = inside.reduce((total, [, time]) => total + time, 0);
    const unpack = performance.now() - start - trip;
    return { mask, size, stages: [...inside, ["transfer", Math.max(0, trip - sum)], ["unpack", unpack]] };
  }

  async #post(blob) {
    const key = sessionStorage.getItem(KEY);
    const headers = { Accept: "image/png", "Content-Type": blob.type || "application/octet-stream" };
    if (key) headers.Authorization = `Bearer ${key}`;
    const address = `segment?model=${encodeURIComponent(this.model.name)}`;
    let response;
    try {
      response = await fetch(address, { method: "POST", body: blob, headers });
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    if (response.status === 401) {
      const given = prompt("This server asks for a key:");
      if (given) {
        sessionStorage.setItem(KEY, given);
        return this.#post(blob);
      }
    }
    if (!response.ok) throw new Error(await explain(response));
    return response;
  }
}

/** A worker in this browser, which keeps the page free to move. */
export class BrowserEngine {
  promise = "Images never leave this device.";
  note = "";
  #worker = null;
  #waiting = null;

  /** `network` is what the worker loads. */
  constructor(name, network) {
    this.name = name;
    this.network = network;
  }

  async load(progress) {
    if (this.#worker) return;
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) return progress(data.progress);
      if (data.note) this.note = data.note;
      if (data.error) this.#waiting.reject(new Error(data.error));
      else this.#waiting.resolve(data);
    };
    this.#worker.onerror = (event) =>
      this.#waiting?.reject(new Error(event.message || "The in-browser engine could not be loaded."));
    try {
      await this.#ask({ load: this.network });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  async segment(picture) {
    return this.#ask({ bitmap: picture.bitmap });
  }

  close() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#waiting?.reject(new Error("The in-browser engine was closed."));
  }

  /** One question at a time. */
  #ask(message) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#worker.postMessage(message);
    });
  }
}

/** Read "decode;dur=1.2, network;dur=8" into [["decode", 1.2], ["network", 8]]. */
export function serverTiming(header) {
  const found = (header ?? "").matchAll(/([\w-]+)[^,]*?;\s*dur=([\d.]+)/g);
  return [...found].map(([, name, time]) => [name, Number(time)]).filter(([name]) => name !== "total");
}

/** One line about a refusal, in the service's own words where it has some. */
async function explain(response) {
  const text = await response.text();
  try {
    const { detail, error, message } = JSON.parse(text);
    const words = detail ?? error ?? message;
    if (typeof words === "string") return words;
  } catch {} // not JSON
  return `The server answers ${response.status} ${response.statusText}`;
}
