// The tail: stride-8 logits become a mask of any size, as full bilinear interpolation followed by
// argmax would make it. The pixels between four samples form a cell, and a class can win in a cell
// only if its largest corner reaches the highest of all classes' smallest corners; these candidates
// alone are interpolated. Computed in float32, the mask is that of topseg's Python and C++ tail.

const { fround } = Math;
const LIMIT = fround(1e38); // twice this is still finite
const INWARD = fround(1 - 2 ** -23); // keeps interpolate() between its ends, rounding included

/** low + weight * (high - low) in float32, never outside of the two. */
const interpolate = (low, high, weight) =>
  fround(low + fround(weight * fround(fround(high - low) * INWARD)));

/** Where the pixels of one axis lie: cell c, between samples c and c + 1, ends before end[c]. */
export function axis(samples, pixels) {
  const scale = fround(samples / pixels);
  const end = new Int32Array(samples);
  const weight = new Float32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const source = Math.max(0, fround(scale * (pixel + 0.5) - 0.5));
    const cell = Math.min(Math.floor(source), samples - 1);
    weight[pixel] = Math.min(source - cell, 1);
    end[cell] = pixel + 1;
  }
  for (let cell = 1; cell < samples; cell++) end[cell] = Math.max(end[cell], end[cell - 1]);
  return { end, weight };
}

/** Finite logits: infinities count as +-1e38 and NaN as -1e38. */
function finite(logits) {
  const out = new Float32Array(logits.length);
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i] > -LIMIT ? logits[i] : -LIMIT;
    out[i] = value < LIMIT ? value : LIMIT;
  }
  return out;
}

/**
 * Interpolate logits bilinearly (half-pixel centres) and give the best class of every pixel.
 *
 * @param {Float32Array} logits (classes, height, width), row by row.
 * @param {number[]} shape [classes, height, width] of the logits.
 * @param {number[]} size [height, width] of the mask.
 * @returns {Uint8Array|Uint16Array} (height, width) class indices, of equal classes the lowest;
 *     16 bits above 255 classes.
 */
export function upsampleArgmax(logits, [classes, height, width], [maskHeight, maskWidth]) {
  const samples = finite(logits);
  const rows = axis(height, maskHeight);
  const columns = axis(width, maskWidth);
  const mask = new (classes <= 255 ? Uint8Array : Uint16Array)(maskHeight * maskWidth);
  const bound = new Float32Array(width); // highest smallest corner of a cell
  const high = new Float32Array(classes * width); // largest corner, class by class
  const candidates = new Uint16Array(width * classes); // ascending lists, cell by cell
  const count = new Int32Array(width);
  const left = new Float32Array(classes);
  const right = new Float32Array(classes);

  for (let y = 0, top = 0; y < height; top = rows.end[y], y++) {
    if (rows.end[y] === top) continue;
    const down = y + 1 < height ? width : 0; // from a sample to the one below it

    bound.fill(-LIMIT);
    for (let k = 0; k < classes; k++) {
      let at = (k * height + y) * width;
      for (let x = 0; x < width; x++, at++) {
        const step = x + 1 < width ? 1 : 0;
        const a = samples[at], b = samples[at + step];
        const c = samples[at + down], d = samples[at + down + step];
        const lowAbove = a < b ? a : b, lowBelow = c < d ? c : d;
        const highAbove = a > b ? a : b, highBelow = c > d ? c : d;
        const low = lowAbove < lowBelow ? lowAbove : lowBelow;
        high[k * width + x] = highAbove > highBelow ? highAbove : highBelow;
        if (low > bound[x]) bound[x] = low;
      }
    }
    count.fill(0);
    for (let k = 0; k < classes; k++)
      for (let x = 0; x < width; x++)
        if (high[k * width + x] >= bound[x]) candidates[x * classes + count[x]++] = k;

    for (let x = 0, start = 0; x < width; start = columns.end[x], x++) {
      const end = columns.end[x];
      const first = x * classes, last = first + count[x];
      const step = x + 1 < width ? 1 : 0;
      for (let row = top; row < rows.end[y]; row++) {
        const from = row * maskWidth;
        if (count[x] === 1 || start === end) {
          mask.fill(candidates[first], from + start, from + end);
          continue;
        }
        const t = rows.weight[row];
        for (let i = first; i < last; i++) {
          const at = (candidates[i] * height + y) * width + x;
          left[i - first] = interpolate(samples[at], samples[at + down], t);
          right[i - first] = interpolate(samples[at + step], samples[at + down + step], t);
        }
        for (let pixel = start; pixel < end; pixel++) {
          let best = -Infinity, winner = 0;
          for (let i = first; i < last; i++) {
            const value = interpolate(left[i - first], right[i - first], columns.weight[pixel]);
            if (value > best) (best = value), (winner = candidates[i]);
          }
          mask[from + pixel] = winner;
        }
      }
    }
  }
  return mask;
}
