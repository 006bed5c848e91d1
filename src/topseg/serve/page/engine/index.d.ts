/** [height, width] in pixels. */
export type Size = [height: number, width: number];

/** RGB or RGBA bytes, row by row: a canvas's ImageData is one. */
export interface Image {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
}

/** Class indices, row by row; 16 bits above 255 classes. */
export type Mask = Uint8Array | Uint16Array;

/** A metadata's "resize" section. */
export interface ResizeRule {
  short_side: number | null;
  max_long_side: number;
  multiple: number;
  round: "nearest" | "up";
}

/**
 * The compiled engine.
 *
 *     const engine = await Engine.load();
 *     const model = engine.open(await readFile("bundle/metadata.json"),
 *                               await readFile("bundle/weights.safetensors"));
 *     const mask = model.mask({ data, width, height });
 */
export class Engine {
  /**
   * Compile one of the modules; without bytes, the one for this machine is read from beside the
   * package's index.js.
   */
  static load(bytes?: BufferSource): Promise<Engine>;
  /** Names of the modules that this machine can run, the fastest first. */
  static readonly files: string[];
  readonly version: string;
  /** 1, but in a browser's page that is isolated from others. */
  readonly threads: number;
  /** Open a bundle: the contents of metadata.json and weights.safetensors. */
  open(
    metadata: string | Uint8Array,
    weights: Uint8Array,
    options?: { checkHashes?: boolean },
  ): Model;
  /** The network's input size for an image, by a rule. */
  networkSize(rule: ResizeRule, size: Size): Size;
  /** Resize an image as Model.prepare does; RGB bytes. */
  resize(image: Image, size: Size): Uint8Array;
  /** A mask of any size from (classes, height, width) logits of any engine. */
  upsampleArgmax(
    logits: Float32Array,
    shape: [classes: number, height: number, width: number],
    size: Size,
  ): Mask;
}

/** An opened bundle; made by Engine.open. */
export class Model {
  private constructor();
  readonly architecture: string;
  /** A limit to the model's use. */
  readonly notice: string | null;
  readonly classes: { name: string; color: [red: number, green: number, blue: number] }[];
  /** Of an image; 3 is RGB. */
  readonly channels: number;
  /** Logits have one cell for this many pixels of the network's input. */
  readonly stride: number;
  /** The network's input is a multiple of this many pixels, both ways. */
  readonly multiple: number;
  /** The value of masks for "no class". */
  readonly ignoreIndex: number;
  networkSize(size: Size): Size;
  /** Resize an image to the network's input: (height, width, channels) bytes. */
  prepare(image: Image): Uint8Array;
  /** Run the network on an image of its own size: (classes, height / 8, width / 8) logits. */
  logits(input: Uint8Array, size: Size): Float32Array;
  /** A mask of any size from logits of height x width cells. */
  finish(logits: Float32Array, cells: Size, size: Size): Mask;
  /** From an image to its mask at the image's own size; lap is called after each stage. */
  mask(image: Image, lap?: (stage: "resize" | "network" | "tail") => void): Mask;
  /** Free the model's memory; it cannot be used any more. */
  close(): void;
}
