// The engine's memory: what JavaScript lends to a call of the C interface, and reads from it.

export class Memory {
  #exports;

  /** Start a compiled module. */
  static async of(module) {
    // What the C++ library would ask of a system if it had one: the answer is "bad file".
    const system = {};
    for (const { module: where, name } of WebAssembly.Module.imports(module))
      (system[where] ??= {})[name] = () => 8;
    const { exports } = await WebAssembly.instantiate(module, system);
    exports._initialize();
    return new Memory(exports);
  }

  constructor(exports) {
    this.#exports = exports;
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
    return new Uint8Array(this.#exports.memory.buffer, address, count);
  }

  floats(address, count) {
    return new Float32Array(this.#exports.memory.buffer, address, count);
  }

  /** Some 32-bit numbers at an address. */
  read(address, count) {
    return Array.from(new Int32Array(this.#exports.memory.buffer, address, count));
  }

  write(address, values) {
    new Int32Array(this.#exports.memory.buffer, address, values.length).set(values);
  }

  /** The UTF-8 text at an address. */
  text(address) {
    const memory = new Uint8Array(this.#exports.memory.buffer);
    return new TextDecoder().decode(memory.slice(address, memory.indexOf(0, address)));
  }
}
