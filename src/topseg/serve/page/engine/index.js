// topseg's engine as WebAssembly, for node and browsers: the C interface (topseg.h) as classes.
// The module asks its host for nothing: no files, no network, no clock.

import { Memory } from "./memory.js";

/** The compiled engine: it opens models, and does what stands around other engines' networks. */
export class Engine {
  #memory;

  /**
   * Compile the engine.
   *
   * @param {BufferSource} [bytes] One of the modules; without it, the one for this machine is read
   *     from beside this file.
   */
  static async load(bytes) {
    const binary = bytes ?? (await read(new URL(Engine.files[0], import.meta.url)));
    return new Engine(await Memory.of(await WebAssembly.compile(binary)));
  }

  /**
   * Names of the modules that this machine can run, the fastest first: in a page that is isolated
   * from others with threads, then with products and sums fused, then with plain SIMD.
   */
  static get files() {
    if (!WebAssembly.validate(RELAXED)) return ["topseg.wasm"];
    const threads = globalThis.crossOriginIsolated && navigator.hardwareConcurrency > 1;
    return [...(threads ? ["topseg_threads.wasm"] : []), "topseg_relaxed.wasm", "topseg.wasm"];
  }

  constructor(memory) {
    this.#memory = memory;
    this.threads = memory.threads;
  }

  get version() {
    return this.#memory.text(this.#memory.call("topseg_version"));
  }

  /**
   * Open a bundle.
   *
   * @param {string|Uint8Array} metadata Content of metadata.json.
   * @param {Uint8Array} weights Content of weights.safetensors.
   * @param {{checkHashes?: boolean}} [options] Whether the weights must have the SHA-256 that the
   *     metadata list.
   */
  open(metadata, weights, { checkHashes = false } = {}) {
    const text = typeof metadata === "string" ? new TextEncoder().encode(metadata) : metadata;
    const memory = this.#memory;
    return memory.lend([text, weights, 12, 4], (about, tensors, options, model) => {
      memory.write(options, [this.threads, 0, Number(checkHashes)]); // in between: code path
      memory.call("topseg_open_memory", about, text.length, tensors, weights.length, options, model);
      return new Model(memory, memory.read(model, 1)[0]);
    });
  }

  /** The network's input size [height, width] for an image, by a metadata's resize rule. */
  networkSize(rule, size) {
    const { short_side: side, max_long_side: longest, multiple, round } = rule;
    return this.#memory.lend([8], (out) => {
      this.#memory.call("topseg_fit", side ?? 0, longest, multiple, round === "up" ? 1 : 0, ...size, out);
      return this.#memory.read(out, 2);
    });
  }

  /** Resize an image as a model's own {@link Model.prepare} would: RGB bytes of [height, width]. */
  resize(image, size) {
    const bytes = 3 * size[0] * size[1];
    return this.#memory.lend([image.data, bytes], (pixels, out) => {
      pack(this.#memory, pixels, image, 3);
      this.#memory.call("topseg_resize", pixels, image.height, image.width, 3, ...size, out);
      return this.#memory.bytes(out, bytes).slice();
    });
  }

  /** A mask of any size [height, width] from logits of shape [classes, height, width]. */
  upsampleArgmax(logits, shape, size) {
    return this.#memory.lend([logits, room(shape[0], size)], (values, mask) => {
      this.#memory.call("topseg_upsample", values, ...shape, ...size, ...either(mask, shape[0]));
      return take(this.#memory, mask, shape[0], size);
    });
  }
}

/** An opened bundle. Sizes are [height, width]; an image is {data, width, height}, RGB or RGBA. */
export class Model {
  #memory;
  #model;

  constructor(memory, model) {
    this.#memory = memory;
    this.#model = model;
    memory.lend([28], (info) => {
      this.#call("topseg_describe", info);
      const [classes, channels, stride, multiple, ignoreIndex, name, notice] = memory.read(info, 7);
      Object.assign(this, { channels, stride, multiple, ignoreIndex });
      this.architecture = memory.text(name);
      this.notice = notice ? memory.text(notice) : null;
      this.classes = Array.from({ length: classes }, (_, index) => this.#class(index));
    });
  }

  /** The network's input size for an image of a size. */
  networkSize(size) {
    return this.#memory.lend([8], (out) => {
      this.#call("topseg_network_size", ...size, out, out + 4);
      return this.#memory.read(out, 2);
    });
  }

  /** Resize an image to the network's input: (height, width, channels) bytes. */
  prepare(image) {
    const [height, width] = this.networkSize([image.height, image.width]);
    const bytes = height * width * this.channels;
    return this.#memory.lend([image.data, 16, bytes], (pixels, about, input) => {
      this.#prepare(image, pixels, about, input);
      return this.#memory.bytes(input, bytes).slice();
    });
  }

  /** Run the network on (height, width, channels) bytes of its own size: (K, h, w) floats. */
  logits(input, size) {
    const count = this.#cells(size).reduce((product, side) => product * side);
    return this.#memory.lend([input, 4 * count], (images, logits) => {
      this.#call("topseg_logits", images, 1, ...size, logits);
      return this.#memory.floats(logits, count).slice();
    });
  }

  /** Make a mask of any size from logits: full bilinear interpolation and the best class. */
  finish(logits, [height, width], size) {
    return this.#memory.lend([logits, room(this.classes.length, size)], (values, mask) => {
      this.#finish(values, [height, width], size, mask);
      return take(this.#memory, mask, this.classes.length, size);
    });
  }

  /**
   * From an image to its mask at the image's own size.
   *
   * @param {(stage: string) => void} [lap] Called at the end of each stage.
   * @returns {Uint8Array|Uint16Array} Class indices; 16 bits above 255 classes.
   */
  mask(image, lap = () => {}) {
    const classes = this.classes.length;
    const size = [image.height, image.width];
    const own = this.networkSize(size);
    const [, height, width] = this.#cells(own);
    const wanted = [image.data, 16, own[0] * own[1] * this.channels, 4 * classes * height * width];
    return this.#memory.lend([...wanted, room(classes, size)], (pixels, about, input, logits, mask) => {
      this.#prepare(image, pixels, about, input);
      lap("resize");
      this.#call("topseg_logits", input, 1, ...own, logits);
      lap("network");
      this.#finish(logits, [height, width], size, mask);
      const found = take(this.#memory, mask, classes, size);
      lap("tail");
      return found;
    });
  }

  /** Free the model's memory; it cannot be used any more. */
  close() {
    this.#memory.call("topseg_close", this.#model);
    this.#model = 0;
  }

  #call(name, ...values) {
    return this.#memory.call(name, this.#model, ...values);
  }

  #class(index) {
    return this.#memory.lend([4, 3], (name, rgb) => {
      this.#call("topseg_class", index, name, rgb);
      const color = Array.from(this.#memory.bytes(rgb, 3));
      return { name: this.#memory.text(this.#memory.read(name, 1)[0]), color };
    });
  }

  #cells([height, width]) {
    return [this.classes.length, Math.floor(height / this.stride), Math.floor(width / this.stride)];
  }

  #prepare(image, pixels, about, input) {
    pack(this.#memory, pixels, image, this.channels);
    this.#memory.write(about, [pixels, image.height, image.width, 0]);
    this.#call("topseg_prepare", about, input);
  }

  #finish(logits, cells, size, mask) {
    this.#call("topseg_finish", logits, ...cells, ...size, ...either(mask, this.classes.length), 0);
  }
}

/** Leave out alpha where an image has it and the network has not. */
function pack(memory, pixels, { data, width, height }, channels) {
  const count = width * height;
  if (data.length === 4 * count && channels === 3) memory.call("topseg_drop_alpha", pixels, count);
  else if (data.length !== channels * count)
    throw new Error(`image: got ${data.length} values, expected ${height} x ${width} x ${channels}`);
}

const room = (classes, [height, width]) => height * width * (classes > 255 ? 2 : 1);
const either = (mask, classes) => (classes > 255 ? [0, mask] : [mask, 0]);

function take(memory, mask, classes, size) {
  const bytes = memory.bytes(mask, room(classes, size)).slice();
  return classes > 255 ? new Uint16Array(bytes.buffer) : bytes;
}

async function read(address) {
  if (address.protocol !== "file:") return (await fetch(address)).arrayBuffer();
  const { readFile } = await import("node:fs/promises");
  return readFile(address);
}

// A module whose one function has an f32x4.relaxed_madd.
const RELAXED = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 17,
  65, 0, 253, 17, 65, 0, 253, 17, 253, 133, 2, 11,
]);
