// The engine's memory: what JavaScript lends to a call of the C interface, and reads from it.

const MOST_THREADS = 4;
const STACK = 1 << 18; // bytes of a worker's

/** Instantiate a module, on a memory of the host where it shares one with others. */
export async function start(module, memory) {
  // What the C++ library would ask of a system if it had one: the answer is "bad file".
  const system = { env: { memory } };
  for (const { module: where, name, kind } of WebAssembly.Module.imports(module))
    if (kind === "function") (system[where] ??= {})[name] = () => 8;
  return (await WebAssembly.instantiate(module, system)).exports;
}

/** Start a browser's worker that enters the engine's team; it is ready when it answers. */
function employ(task) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("member.js", import.meta.url), { type: "module" });
    worker.onmessage = () => resolve(worker);
    worker.onerror = reject;
    worker.postMessage(task);
  });
}

export class Memory {
  #exports;
  #memory;
  #workers = []; // who share the network's work; none where the module has no threads

  /** Start a compiled module, and the workers for it that this host has. */
  static async of(module) {
    const shares = WebAssembly.Module.imports(module).some(({ kind }) => kind === "memory");
    const memory = shares ? new WebAssembly.Memory({ initial: 64, maximum: 16384, shared: true }) : undefined;
    const exports = await start(module, memory);
    exports._initialize();
    const found = new Memory(exports, memory ?? exports.memory);
    if (shares) await found.#hire(module);
    return found;
  }

  constructor(exports, memory) {
    this.#exports = exports;
    this.#memory = memory;
  }

  get threads() {
    return this.#workers.length + 1;
  }

  /** Call a function of the interface; it traps where something is wrong, and leaves a text. */
  call(name, ...values) {
    const { __stack_pointer: stack, topseg_error: error } = this.#exports;
    const top = stack.value;
    try {
      return this.#exports[name](...values);
    } catch (trap) {
      if (!(trap instanceof WebAssembly.RuntimeError)) throw trap;
      stack.value = top;
      throw new Error(this.text(error()) || `${name}: out of memory (${trap.message})`);
    }
  }

  /**
   * Let work(...addresses) use memory.
   *
   * @param {(number|ArrayBufferView)[]} wanted Rooms of so many bytes, or values to copy there.
   */
  lend(wanted, work) {
    const lent = [];
    try {
      for (const one of wanted) {
        const bytes = one.byteLength ?? one;
        const address = this.#exports.malloc(Math.max(bytes, 1));
        if (!address) throw new Error(`not enough memory for ${bytes} bytes`);
        lent.push(address);
        if (typeof one !== "number")
          this.bytes(address, bytes).set(new Uint8Array(one.buffer, one.byteOffset, bytes));
      }
      return work(...lent);
    } finally {
      lent.forEach((address) => this.#exports.free(address));
    }
  }

  /** Bytes at an address; valid until the next call. */
  bytes(address, count) {
    return new Uint8Array(this.#memory.buffer, address, count);
  }

  floats(address, count) {
    return new Float32Array(this.#memory.buffer, address, count);
  }

  /** Some 32-bit numbers at an address. */
  read(address, count) {
    return Array.from(new Int32Array(this.#memory.buffer, address, count));
  }

  write(address, values) {
    new Int32Array(this.#memory.buffer, address, values.length).set(values);
  }

  /** The UTF-8 text at an address. */
  text(address) {
    const memory = new Uint8Array(this.#memory.buffer);
    return new TextDecoder().decode(memory.slice(address, memory.indexOf(0, address)));
  }

  async #hire(module) {
    const most = Math.min(globalThis.navigator?.hardwareConcurrency ?? 1, MOST_THREADS);
    try {
      while (this.threads < most) {
        const bottom = this.#exports.malloc(STACK);
        if (!bottom) break;
        const task = { module, memory: this.#memory, stack: bottom + STACK, number: this.threads };
        this.#workers.push(await employ(task));
      }
    } catch {} // a host without workers, or that forbids them: those that are here do it all
    this.#exports.topseg_team(this.#workers.length);
  }
}
