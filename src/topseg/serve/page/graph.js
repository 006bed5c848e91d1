// A model's ONNX graph by onnxruntime-web, with topseg's resize and tail around it. WebGPU takes
// over where there is one, but only after it has given the processor's mask of a picture, and
// faster: some graphics drivers compute narrow attention wrongly.

const AGREEMENT = 0.99; // of the cells of the first picture's logits

/** Load onnxruntime-web (`ort` is its version) and a graph, whose address is `graph`. */
export async function openGraph({ engine, metadata, graph, ort: version, download }) {
  const gpu = await navigator.gpu?.requestAdapter().catch(() => null);
  const build = gpu ? ["ort.webgpu.min", "ort-wasm-simd-threaded.asyncify"] : ["ort.wasm.min", "ort-wasm-simd-threaded"];
  const address = (name) => new URL(`ort/${name}?v=${version}`, import.meta.url).href;
  const wasm = await download(address(`${build[1]}.wasm`), "engine");
  const ort = await import(address(`${build[0]}.js`));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = { mjs: address(`${build[1]}.js`) };
  ort.env.wasm.wasmBinary = wasm;
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
  ort.env.wasm.numThreads = threads;
  const bytes = new Uint8Array(await download(graph, "network"));
  const open = (provider) =>
    ort.InferenceSession.create(bytes, { executionProviders: [provider], logSeverityLevel: 3 });
  const network = new Graph(engine, metadata, ort.Tensor, await open("wasm"));
  network.note = `onnxruntime-web, WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}.`;
  if (gpu) {
    try {
      network.unproven = await open("webgpu");
    } catch {
      network.note += " WebGPU cannot run this network.";
    }
  }
  return network;
}

class Graph {
  note = "";
  unproven = null; // WebGPU's session, until it has been compared

  constructor(engine, metadata, Tensor, session) {
    Object.assign(this, { engine, metadata, Tensor, session });
  }

  async mask(image, lap) {
    const size = [image.height, image.width];
    const input = this.engine.networkSize(this.metadata.resize, size);
    const images = new this.Tensor("uint8", this.engine.resize(image, input), [1, ...input, 3]);
    lap("resize");
    if (this.unproven) {
      await this.compare(images);
      lap();
    }
    const logits = await run(this.session, images);
    lap("network");
    const mask = this.upsample(logits, size);
    lap("tail");
    return mask;
  }

  upsample({ data, dims }, size) {
    return this.engine.upsampleArgmax(data, dims.slice(1), size);
  }

  /** Let WebGPU take over if it sees in this picture what the processor sees, and sooner. */
  async compare(images) {
    let candidate = this.unproven;
    this.unproven = null;
    try {
      await run(candidate, images); // compiles its shaders
      const [got, time] = await timed(candidate, images);
      const [expected, limit] = await timed(this.session, images);
      const [a, b] = [expected, got].map((logits) => this.upsample(logits, logits.dims.slice(2)));
      const equal = a.filter((value, i) => value === b[i]).length / a.length;
      const percent = `${(100 * equal).toFixed(1)} %`;
      if (equal >= AGREEMENT && time < limit) {
        [this.session, candidate] = [candidate, this.session];
        this.note = `WebGPU, equal to WebAssembly on ${percent} of the first picture.`;
      } else this.note += equal < AGREEMENT ? ` WebGPU agrees on ${percent} only.` : " WebGPU is slower here.";
      await candidate.release();
    } catch {
      this.note += " WebGPU fails on this network.";
    }
  }
}

async function run(session, images) {
  const output = await session.run({ [session.inputNames[0]]: images });
  return output[session.outputNames[0]];
}

async function timed(session, images) {
  const start = performance.now();
  const logits = await run(session, images);
  return [logits, performance.now() - start];
}
