// How an image becomes the network's input: the metadata's rule for the size, and OpenCV's bilinear
// resize of bytes (INTER_LINEAR, 11-bit weights), integer by integer, so that the network sees here
// what it sees on the server.

const BITS = 11;

/** Round half to even, as Python does. */
function round(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

/**
 * Give the network's input size for an image.
 *
 * @param {{short_side: ?number, max_long_side: number, multiple: number, round: string}} rule
 * @param {number[]} size [height, width] of the image.
 * @returns {number[]} [height, width], both multiples of rule.multiple.
 */
export function networkSize(rule, [height, width]) {
  const scale = Math.min(
    rule.max_long_side / Math.max(height, width),
    rule.short_side === null ? 1 : rule.short_side / Math.min(height, width),
  );
  return [height, width].map((side) => {
    const pixels = round(side * scale) + (rule.round === "up" ? rule.multiple - 1 : rule.multiple / 2);
    return Math.max(1, Math.floor(pixels / rule.multiple)) * rule.multiple;
  });
}

/** For every pixel of a resized axis its two samples and their weights, of 2 ** BITS in all. */
function taps(samples, pixels, inside) {
  const low = new Int32Array(pixels), high = new Int32Array(pixels);
  const lowWeight = new Int32Array(pixels), highWeight = new Int32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const source = Math.fround((pixel + 0.5) * (samples / pixels) - 0.5);
    const below = Math.floor(source);
    const beyond = below < 0 || below >= samples - 1;
    const weight = inside && beyond ? 0 : Math.fround(source - below);
    low[pixel] = Math.min(Math.max(below, 0), samples - 1);
    high[pixel] = Math.min(Math.max(below + 1, 0), samples - 1);
    lowWeight[pixel] = round(Math.fround(1 - weight) * 2 ** BITS);
    highWeight[pixel] = round(weight * 2 ** BITS);
  }
  return { low, high, lowWeight, highWeight };
}

/**
 * Resize an image bilinearly and leave out its alpha.
 *
 * @param {Uint8ClampedArray} rgba (height, width, 4), as a canvas gives it.
 * @param {number[]} size [height, width] of the image.
 * @param {number[]} target [height, width] wanted.
 * @returns {Uint8Array} (height, width, 3) RGB.
 */
export function resizeImage(rgba, [height, width], [newHeight, newWidth]) {
  const out = new Uint8Array(newHeight * newWidth * 3);
  if (height === newHeight && width === newWidth) {
    for (let i = 0, o = 0; i < rgba.length; i += 4)
      (out[o++] = rgba[i]), (out[o++] = rgba[i + 1]), (out[o++] = rgba[i + 2]);
    return out;
  }
  const columns = taps(width, newWidth, true);
  const rows = taps(height, newHeight, false); // OpenCV keeps the weights beyond the border here
  const memory = [0, 1].map(() => ({ row: -1, values: new Int32Array(newWidth * 3) }));

  /** One row of the image at its new width; the last two are kept. */
  function stretched(row, other) {
    const kept = memory.find((line) => line.row === row);
    if (kept) return kept;
    const line = memory.find((line) => line !== other);
    line.row = row;
    const from = row * width * 4;
    for (let x = 0, o = 0; x < newWidth; x++) {
      const a = from + columns.low[x] * 4, b = from + columns.high[x] * 4;
      const p = columns.lowWeight[x], q = columns.highWeight[x];
      for (let c = 0; c < 3; c++) line.values[o++] = rgba[a + c] * p + rgba[b + c] * q;
    }
    return line;
  }

  for (let y = 0, o = 0; y < newHeight; y++) {
    const above = stretched(rows.low[y]);
    const below = stretched(rows.high[y], above);
    const p = rows.lowWeight[y], q = rows.highWeight[y];
    for (let i = 0; i < above.values.length; i++) {
      const a = (p * (above.values[i] >> 4)) >> 16, b = (q * (below.values[i] >> 4)) >> 16;
      out[o++] = (a + b + 2) >> 2;
    }
  }
  return out;
}
