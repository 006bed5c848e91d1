// The stage: the picture, the coloured mask over it, the divider between before and after. Opacity
// and divider are styles of the layer, so that moving them repaints nothing.

const FAINT = 60; // alpha of the other classes while one is pointed at

export class Stage {
  constructor(root) {
    this.root = root;
    const part = (id) => root.querySelector(`#${id}`);
    this.frame = part("frame");
    this.picture = part("picture");
    this.overlay = part("overlay");
    this.divider = part("divider");
    this.readout = part("readout");
    this.result = null;
    this.hidden = new Set(); // classes that are switched off
    this.focus = null; // the class that is pointed at
    this.divider.addEventListener("input", () => this.#style("--divider", `${this.divider.value}%`));
    this.frame.addEventListener("pointermove", (event) => this.#read(event));
    this.frame.addEventListener("pointerleave", () => (this.readout.hidden = true));
  }

  set opacity(share) {
    this.#style("--opacity", share);
  }

  set view(name) {
    this.root.classList.toggle("compare", name === "compare");
  }

  /** Show a picture without a mask. */
  show({ bitmap, name }) {
    const { width, height } = bitmap;
    for (const canvas of [this.picture, this.overlay]) Object.assign(canvas, { width, height });
    this.picture.getContext("2d").drawImage(bitmap, 0, 0);
    this.picture.setAttribute("aria-label", `Image: ${name}`);
    this.#style("--ratio", width / height);
    this.result = null;
    this.readout.hidden = true;
  }

  /** Lay a mask over the picture. */
  lay(result, { classes, palette }) {
    Object.assign(this, { result, classes, palette });
    this.paint();
  }

  /** Paint the classes that are switched on. */
  paint() {
    if (!this.result) return;
    const { mask, size: [height, width] } = this.result;
    const colors = this.#colors(255), rims = this.#colors(255, 0.45);
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = 0, i = 0; y < height; y++) {
      const below = y + 1 < height ? width : 0;
      for (let x = 0; x < width; x++, i++) {
        const value = mask[i];
        const rim = value !== mask[i + below] || (x + 1 < width && value !== mask[i + 1]);
        pixels[i] = rim ? rims[value] : colors[value];
      }
    }
    this.overlay.getContext("2d").putImageData(image, 0, 0);
  }

  /** Give the picture with its mask, as it is seen, as a PNG. */
  async snapshot() {
    const canvas = new OffscreenCanvas(this.picture.width, this.picture.height);
    const context = canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0);
    context.globalAlpha = Number(getComputedStyle(this.root).getPropertyValue("--opacity"));
    context.drawImage(this.overlay, 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }

  /** One RGBA word a class; `light` mixes in white. */
  #colors(alpha, light = 0) {
    const table = new Uint32Array(65536); // no class, no colour
    this.palette.forEach((color, index) => {
      if (this.hidden.has(index)) return;
      const [r, g, b] = color.map((value) => Math.round(value + (255 - value) * light));
      const seen = this.focus === null || this.focus === index ? alpha : FAINT;
      table[index] = ((seen << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    return table;
  }

  /** Name the class under the pointer. */
  #read({ clientX, clientY }) {
    if (!this.result) return;
    const { mask, size: [height, width] } = this.result;
    const box = this.frame.getBoundingClientRect();
    const x = Math.floor(((clientX - box.left) / box.width) * width);
    const y = Math.floor(((clientY - box.top) / box.height) * height);
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const index = mask[y * width + x];
    this.readout.hidden = index >= this.classes.length;
    if (this.readout.hidden) return;
    this.readout.textContent = this.classes[index];
    this.readout.style.setProperty("--color", `rgb(${this.palette[index]})`);
    this.readout.style.setProperty("--x", `${clientX - box.left}px`);
    this.readout.style.setProperty("--y", `${clientY - box.top}px`);
    this.readout.classList.toggle("flip", clientX - box.left > box.width - 160);
  }

  #style(name, value) {
    this.root.style.setProperty(name, value);
  }
}
