// The network in the browser: picture -> pixels -> network's input -> logits -> mask, all in a
// worker. topseg's own engine takes a bundle's weights; a model of another family, or one that was
// chosen to run on a GPU, is an ONNX graph (graph.js).

import { Engine } from "./engine/index.js";

let network; // what makes masks: mask(image, lap), and a note

self.onmessage = async ({ data }) => {
  try {
    if (data.load) {
      network = await load(data.load);
      self.postMessage({ note: network.note });
    } else {
      const found = await segment(data.bitmap);
      self.postMessage(found, [found.mask.buffer]);
    }
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};

/** Load the engine and a model: {metadata, engine, weights} or {metadata, engine, graph, ort}. */
async function load({ metadata, engine: versions, weights, graph, ort }) {
  const engine = await loadEngine(versions);
  if (graph) {
    const { openGraph } = await import("./graph.js");
    return openGraph({ engine, metadata, graph, ort, download });
  }
  const model = engine.open(JSON.stringify(metadata), new Uint8Array(await download(weights, "network")));
  const threads = `${engine.threads} thread${engine.threads > 1 ? "s" : ""}`;
  return { mask: (image, lap) => model.mask(image, lap), note: `topseg's engine, WebAssembly, ${threads}.` };
}

/** The fastest module that this machine runs, and offline has kept. */
async function loadEngine(versions) {
  let failed;
  for (const file of Engine.files) {
    try {
      return await Engine.load(await download(`engine/${file}?v=${versions[file]}`, "engine"));
    } catch (error) {
      failed = error;
    }
  }
  throw failed;
}

async function segment(bitmap) {
  const stages = [];
  let start = performance.now();
  const lap = (name) => {
    const now = performance.now();
    if (name) stages.push([name, now - start]);
    start = now;
  };
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const image = context.getImageData(0, 0, width, height);
  lap("pixels");
  const mask = await network.mask(image, lap);
  return { mask, size: [height, width], stages, note: network.note };
}

async function download(address, what) {
  const response = await fetch(new URL(address, import.meta.url));
  if (!response.ok) throw new Error(`${what}: ${address} answers ${response.status}`);
  const total = Number(response.headers.get("Content-Length")) || 0;
  const parts = [];
  let done = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { value, done: end } = await reader.read();
    if (end) break;
    parts.push(value);
    done += value.length;
    self.postMessage({ progress: { what, done, total } });
  }
  return new Blob(parts).arrayBuffer();
}
