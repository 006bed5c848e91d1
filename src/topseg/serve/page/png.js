// Mask files, as topseg writes them: 8-bit palette indices, or 16-bit grey above 255 classes. A
// canvas can neither write nor read indices, so the few lines of the format stand here; the browser
// itself brings the compression.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0, PALETTE = 3; // colour types

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

async function pipe(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/**
 * Encode a mask.
 *
 * @param {Uint8Array|Uint16Array} mask (height, width) class indices.
 * @param {number[]} size [height, width].
 * @param {number[][]} palette One [red, green, blue] a class.
 * @returns {Promise<Uint8Array>} The file.
 */
export async function encodeMask(mask, [height, width], palette) {
  const depth = mask.BYTES_PER_ELEMENT * 8;
  const stride = 1 + width * mask.BYTES_PER_ELEMENT; // a filter byte, 0, and the row
  const rows = new Uint8Array(height * stride);
  const view = new DataView(rows.buffer);
  for (let y = 0; y < height; y++) {
    const line = mask.subarray(y * width, (y + 1) * width);
    if (depth === 8) rows.set(line, y * stride + 1);
    else line.forEach((value, x) => view.setUint16(y * stride + 1 + 2 * x, value));
  }
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([depth, depth === 8 ? PALETTE : GREY], 8);
  const colors = new Uint8Array(768); // all 256, so that every reader keeps 8 bits a pixel
  if (depth === 8) colors.set(palette.flat());
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    ...(depth === 8 ? [chunk("PLTE", colors)] : []),
    chunk("IDAT", await pipe(rows, new CompressionStream("deflate"))),
    chunk("IEND", new Uint8Array()),
  ];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/**
 * Decode a mask: an 8-bit palette or grey PNG, or a 16-bit grey one, not interlaced.
 *
 * @param {ArrayBuffer} buffer The file.
 * @returns {Promise<{mask: Uint8Array|Uint16Array, size: number[]}>} Indices and [height, width].
 */
export async function decodeMask(buffer) {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  if (SIGNATURE.some((value, i) => bytes[i] !== value)) throw new Error("the mask is not a PNG");
  const data = [];
  for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const width = view.getUint32(16), height = view.getUint32(20);
  const [depth, type, , , interlaced] = bytes.subarray(24, 29);
  if ((depth !== 8 && depth !== 16) || (type !== GREY && type !== PALETTE) || interlaced)
    throw new Error(`the mask has colour type ${type} with ${depth} bits, expected class indices`);
  const rows = await pipe(new Uint8Array(await new Blob(data).arrayBuffer()), new DecompressionStream("deflate"));
  const step = depth / 8, stride = width * step;
  const plain = unfilter(rows, height, stride, step);
  if (depth === 8) return { mask: plain, size: [height, width] };
  const words = new DataView(plain.buffer);
  const mask = Uint16Array.from({ length: width * height }, (_, i) => words.getUint16(2 * i));
  return { mask, size: [height, width] };
}

/** Undo the five row filters: none, left, above, their mean, Paeth's choice. */
function unfilter(rows, height, stride, step) {
  const out = new Uint8Array(height * stride);
  for (let y = 0, from = 0, to = 0; y < height; y++) {
    const filter = rows[from++];
    for (let x = 0; x < stride; x++, from++, to++) {
      const left = x >= step ? out[to - step] : 0;
      const above = y ? out[to - stride] : 0;
      const corner = x >= step && y ? out[to - stride - step] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = above;
      else if (filter === 3) guess = (left + above) >> 1;
      else if (filter === 4) {
        const p = left + above - corner;
        const a = Math.abs(p - left), b = Math.abs(p - above), c = Math.abs(p - corner);
        guess = a <= b && a <= c ? left : b <= c ? above : corner;
      }
      out[to] = rows[from] + guess;
    }
  }
  return out;
}
