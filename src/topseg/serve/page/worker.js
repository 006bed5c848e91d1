// The network in the browser: picture -> pixels -> network's input -> logits -> mask, all in a
// worker. WebGPU takes over where there is one, but only after it has given the processor's mask of
// a picture, and faster: some graphics drivers compute narrow attention wrongly.

import { networkSize, resizeImage } from "./resize.js";
import { upsampleArgmax } from "./tail.js";

const AGREEMENT = 0.99; // of the cells of the first picture's logits

let ort, metadata, graph;
let session, unproven; // the one in use; WebGPU's, until it has been compared
let note = "";

self.onmessage = async ({ data }) => {
  try {
    if (data.load) self.postMessage(await load(data.load, data.version));
    else {
      const found = await segment(data.bitmap);
      self.postMessage(found, [found.mask.buffer]);
    }
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};

async function load(model, version) {
  metadata = model.metadata;
  const gpu = await navigator.gpu?.requestAdapter().catch(() => null);
  const build = gpu ? ["ort.webgpu.min", "ort-wasm-simd-threaded.asyncify"] : ["ort.wasm.min", "ort-wasm-simd-threaded"];
  const address = (name) => new URL(`ort/${name}?v=${version}`, import.meta.url).href;
  const wasm = await download(address(`${build[1]}.wasm`), "engine");
  ort = await import(address(`${build[0]}.js`));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = { mjs: address(`${build[1]}.js`) };
  ort.env.wasm.wasmBinary = wasm;
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
  ort.env.wasm.numThreads = threads;
  graph = new Uint8Array(await download(new URL(model.graph, import.meta.url).href, "network"));
  session = await open("wasm");
  note = `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}.`;
  if (gpu) {
    try {
      unproven = await open("webgpu");
    } catch {
      note += " WebGPU cannot run this network.";
    }
  }
  return { note };
}

async function segment(bitmap) {
  const stages = [];
  let start = performance.now();
  const done = (name) => {
    const now = performance.now();
    stages.push([name, now - start]);
    start = now;
  };
  const size = [bitmap.height, bitmap.width];
  const context = new OffscreenCanvas(size[1], size[0]).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, size[1], size[0]);
  done("pixels");
  const input = networkSize(metadata.resize, size);
  const image = resizeImage(data, size, input);
  done("resize");
  const images = new ort.Tensor("uint8", image, [1, ...input, 3]);
  if (unproven) {
    await compare(images);
    start = performance.now();
  }
  const logits = await run(session, images);
  done("network");
  const mask = upsampleArgmax(logits.data, logits.dims.slice(1), size);
  done("tail");
  return { mask, size, stages, note };
}

function open(provider) {
  return ort.InferenceSession.create(graph, { executionProviders: [provider], logSeverityLevel: 3 });
}

async function run(session, images) {
  const output = await session.run({ [session.inputNames[0]]: images });
  return output[session.outputNames[0]];
}

/** Let WebGPU take over if it sees in this picture what the processor sees, and sooner. */
async function compare(images) {
  let candidate = unproven;
  unproven = null;
  try {
    await run(candidate, images); // compiles its shaders
    const [got, time] = await timed(candidate, images);
    const [expected, limit] = await timed(session, images);
    const [a, b] = [expected, got].map(({ data, dims }) => upsampleArgmax(data, dims.slice(1), dims.slice(2)));
    const equal = a.filter((value, i) => value === b[i]).length / a.length;
    const percent = `${(100 * equal).toFixed(1)} %`;
    if (equal >= AGREEMENT && time < limit) {
      [session, candidate] = [candidate, session];
      note = `WebGPU, equal to WebAssembly on ${percent} of the first picture.`;
    } else note += equal < AGREEMENT ? ` WebGPU agrees on ${percent} only.` : " WebGPU is slower here.";
    await candidate.release();
  } catch {
    note += " WebGPU fails on this network.";
  }
}

async function timed(session, images) {
  const start = performance.now();
  const logits = await run(session, images);
  return [logits, performance.now() - start];
}

async function download(address, what) {
  const response = await fetch(address);
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
