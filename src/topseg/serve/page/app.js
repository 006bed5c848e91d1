// The page: pictures come in, an engine makes a mask, stage and panel show it.

import { BrowserEngine, ServerEngine } from "./engines.js";
import { Legend, areas, element, showTimes } from "./panel.js";
import { encodeMask } from "./png.js";
import { Camera, listen, openFile } from "./sources.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const stage = new Stage($("stage"));
const legend = new Legend($("legend"), $("show-all"), stage);
const camera = new Camera();

const WHY = {
  server: "This page was written for the browser alone: no server stands behind it.",
  browser: "The in-browser engine does not know this model.",
  gpu: "",
};

let page; // page.json
let model; // {name, metadata, networks: what a worker loads for each choice of engine}
let engine;
let picture; // the newest, whether segmented yet or not
let working = null; // the runs in progress

async function main() {
  page = await getJson("page.json");
  $("model").replaceChildren(...page.models.map((name) => element("option", { value: name, textContent: name })));
  $("model").disabled = page.models.length < 2;
  document.title = `topseg · ${page.models.join(", ")}`;
  $("samples").replaceChildren(...page.samples.map(sample));
  listen($("file"), (blob, name) => take(() => openFile(blob, name)));
  $("camera").addEventListener("click", toggleCamera);
  $("model").addEventListener("change", () => chooseModel($("model").value).catch(fail));
  $("engines").addEventListener("change", ({ target }) => chooseEngine(target.value));
  $("views").addEventListener("change", ({ target }) => (stage.view = target.value));
  $("opacity").addEventListener("input", setOpacity);
  $("save-mask").addEventListener("click", () => saveMask().catch(fail));
  $("save-overlay").addEventListener("click", () => stage.snapshot().then((blob) => save(blob, "overlay"), fail));
  setOpacity();
  await chooseModel(page.models[0]);
  navigator.serviceWorker?.register("sw.js").catch(() => {}); // without it the page works online
}

async function chooseModel(name) {
  const folder = `models/${encodeURIComponent(name)}`;
  const metadata = await getJson(`${folder}/metadata.json`);
  const address = (file) => file in metadata.files && `${folder}/${file}?v=${metadata.files[file].slice(0, 16)}`;
  const weights = address(metadata.weights);
  const graph = page.ort && address(metadata.graphs.onnx?.file);
  const own = weights && { metadata, engine: page.engine, weights };
  const foreign = graph && { metadata, engine: page.engine, graph, ort: page.ort };
  model = { name, metadata, networks: { browser: own || foreign, gpu: own && navigator.gpu && foreign } };
  stage.hidden = new Set();
  const able = { server: page.server, ...model.networks };
  for (const input of $("engines").querySelectorAll("input")) {
    input.disabled = !able[input.value];
    input.closest("label").title = able[input.value] ? "" : WHY[input.value];
  }
  $("gpu").hidden = !able.gpu;
  const wanted = engine?.name ?? "server";
  chooseEngine(able[wanted] ? wanted : able.server ? "server" : "browser");
}

function chooseEngine(name) {
  engine?.close?.();
  engine = name === "server" ? new ServerEngine(model) : new BrowserEngine(name, model.networks[name]);
  $("engines").querySelector(`[value=${name}]`).checked = true;
  $("promise").textContent = engine.promise;
  if (picture) refresh();
}

function sample(address, index) {
  const name = `Sample ${index + 1}`;
  const image = element("img", { src: address, alt: "", loading: "lazy", width: 96, height: 72 });
  const button = element("button", { type: "button", ariaLabel: name, title: name }, image);
  button.addEventListener("click", () =>
    take(async () => openFile(await (await fetch(address)).blob(), name.toLowerCase().replace(" ", "-"))),
  );
  return element("li", {}, button);
}

/** Take one picture from anywhere; the camera gives way to it. */
async function take(open) {
  camera.stop();
  showCamera();
  try {
    picture = await open();
  } catch (error) {
    return fail(error);
  }
  stage.hidden = new Set();
  stage.show(picture);
  document.body.classList.add("shown");
  await refresh();
}

/** Segment the newest picture; what comes while a run is on is taken up at its end. */
function refresh() {
  working ??= catchUp().finally(() => (working = null));
  return working;
}

async function catchUp() {
  let seen = {};
  const behind = () => seen.picture !== picture || seen.engine !== engine;
  busy(true);
  while (behind()) {
    $("alert").hidden = true;
    seen = { picture, engine, model };
    try {
      await segment(seen);
    } catch (error) {
      if (!behind()) fail(error);
    }
  }
  $("loading").hidden = true;
  busy(false);
}

async function segment({ picture: one, engine: where, model: what }) {
  await where.load(loading);
  progress(null);
  $("loading").hidden = true;
  const result = await where.segment(one);
  if (where !== engine || one !== picture) return; // something newer is waiting
  const start = performance.now();
  if (camera.on) stage.show(one); // not before, lest masks flicker
  document.body.classList.add("shown");
  stage.lay(result, what.metadata);
  result.stages = [["open", one.decode], ...result.stages, ["paint", performance.now() - start]];
  const found = areas(result.mask, what.metadata.classes.length);
  legend.show(found, what.metadata, camera.on);
  showTimes(result.stages, { total: $("time-total"), bar: $("stages"), list: $("times") });
  $("engine-note").textContent = where.note;
  $("engine-promise").textContent = where.promise;
  document.body.dataset.result = where.name; // of the newest picture
  announce(`${found.length} classes: ${found.slice(0, 3).map(({ index }) => what.metadata.classes[index]).join(", ")}`);
}

async function toggleCamera() {
  if (camera.on) {
    camera.stop();
    return showCamera();
  }
  try {
    for await (const shot of camera.shots()) {
      showCamera();
      const before = picture;
      picture = shot;
      await refresh();
      before?.bitmap.close();
      if (!$("alert").hidden) camera.stop();
    }
  } catch (error) {
    fail(error);
  }
  showCamera();
}

function showCamera() {
  $("camera").setAttribute("aria-pressed", camera.on);
  $("camera").textContent = camera.on ? "Stop camera" : "Camera";
}

async function saveMask() {
  if (!stage.result) return; // the network is at it
  const { mask, size } = stage.result;
  save(new Blob([await encodeMask(mask, size, stage.palette)], { type: "image/png" }), "mask"); // of its own model
}

function save(blob, kind) {
  const link = element("a", { href: URL.createObjectURL(blob), download: `${picture.name.replace(/\.\w+$/, "")}_${kind}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function setOpacity() {
  $("opacity-value").textContent = `${$("opacity").value} %`;
  stage.opacity = $("opacity").value / 100;
}

function busy(now) {
  $("progress").hidden = !now || camera.on;
  $("stage").ariaBusy = String(now);
}

function progress(share) {
  if (share === null) $("progress").removeAttribute("value");
  else $("progress").value = share;
}

function loading({ what, done, total }) {
  progress(total ? done / total : null);
  const size = (bytes) => (bytes / 1e6).toFixed(1);
  $("loading").hidden = false;
  $("loading").textContent = `Loading the ${what}: ${size(done)}${total ? ` of ${size(total)}` : ""} MB`;
}

function announce(text) {
  $("status").textContent = text;
}

function fail(error) {
  $("alert").textContent = error.message;
  $("alert").hidden = false;
}

async function getJson(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address} answers ${response.status}`);
  return response.json();
}

main().catch(fail);
