// Where pictures come from: files that are chosen, dropped or pasted, samples, the camera. Each
// becomes {name, bitmap, file(), decode}: pixels for the stage, a file for the server.

/** Open an image file, turned upright, its colours as they are stored. */
export async function openFile(blob, name) {
  const start = performance.now();
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new Error(`${name}: this browser cannot read it as an image. Try a JPEG, PNG or WebP file.`);
  }
  return { name, bitmap, file: async () => blob, decode: performance.now() - start };
}

/** Listen for images that are dropped on the page, pasted into it or chosen. */
export function listen(input, take) {
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0], input.files[0].name);
    input.value = ""; // so that the same file can be chosen again
  });
  addEventListener("paste", ({ clipboardData }) => offer(clipboardData, "pasted image"));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    offer(event.dataTransfer, "dropped image");
  });

  function offer(data, name) {
    const file = [...data.files].find(({ type }) => type.startsWith("image/"));
    if (file) take(file, file.name || name);
  }
}

/** The camera: pictures, each asked for when the one before has been dealt with. */
export class Camera {
  #session = null; // of the newest start; what belongs to another one ends by itself

  get on() {
    return this.#session !== null;
  }

  stop() {
    this.#session?.stream?.getTracks().forEach((track) => track.stop());
    this.#session = null;
  }

  async *shots() {
    const session = (this.#session = {});
    try {
      session.stream = await openCamera();
      const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
      video.srcObject = session.stream;
      await video.play();
      while (this.#session === session) yield await shot(video);
    } finally {
      session.stream?.getTracks().forEach((track) => track.stop());
      if (this.#session === session) this.#session = null;
    }
  }
}

async function openCamera() {
  if (!navigator.mediaDevices) throw new Error("The camera needs https or localhost.");
  const wish = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "environment" };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: wish, audio: false });
  } catch ({ name }) {
    const denied = name === "NotAllowedError";
    throw new Error(denied ? "The camera was not allowed. Allow it in the address bar." : "No camera was found.");
  }
}

async function shot(video) {
  const start = performance.now();
  const bitmap = await createImageBitmap(video);
  const file = () => {
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
  };
  return { name: "camera", bitmap, file, decode: performance.now() - start };
}
