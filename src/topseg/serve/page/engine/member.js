// A worker that shares the network's work: the same module on the same memory, for good.

import { start } from "./memory.js";

self.onmessage = async ({ data: { module, memory, stack, number } }) => {
  try {
    const exports = await start(module, memory);
    exports.__stack_pointer.value = stack;
    self.postMessage("ready");
    exports.topseg_join(number);
  } catch (error) {
    self.reportError(error); // to whoever waits for "ready"
  }
};
