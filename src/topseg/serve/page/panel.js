// The panel: which classes were found and how much of the picture each covers, and where the time
// went.

const percent = (share) => (share && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);
const milliseconds = (time) => (time < 9.95 ? time.toFixed(1) : Math.round(time).toString()) + " ms";

/** Count the pixels of every class: [{index, share}], the largest first. */
export function areas(mask, classes) {
  const count = new Uint32Array(classes);
  for (let i = 0; i < mask.length; i++) if (mask[i] < classes) count[mask[i]]++;
  return [...count.entries()]
    .filter(([, pixels]) => pixels)
    .map(([index, pixels]) => ({ index, share: pixels / mask.length }))
    .sort((a, b) => b.share - a.share);
}

/** The list of classes, each with a box to switch it off and a button to see it alone. */
export class Legend {
  constructor(list, showAll, stage) {
    Object.assign(this, { list, showAll, stage });
    this.rows = new Map(); // class -> its row
    showAll.addEventListener("click", () => this.#hide(new Set()));
  }

  /** List what was found; of a moving picture (`steady`), rows stay where they are. */
  show(found, { classes, palette }, steady) {
    if (!steady) this.rows.clear();
    for (const row of this.rows.values()) setShare(row, 0);
    for (const { index, share } of found) {
      if (!this.rows.has(index)) this.rows.set(index, this.#row(index, classes[index], palette[index]));
      setShare(this.rows.get(index), share);
    }
    const rows = [...this.rows.values()];
    if (steady) this.list.append(...rows.filter((row) => !row.isConnected));
    else this.list.replaceChildren(...rows);
    this.#mark();
  }

  #row(index, name, color) {
    const row = element("li");
    row.style.setProperty("--color", `rgb(${color})`);
    const box = element("input", { type: "checkbox", checked: !this.stage.hidden.has(index) });
    const title = element("span", { className: "name", textContent: name });
    const label = element("label", {}, box, title, element("span", { className: "share" }));
    const only = element("button", { type: "button", className: "link only", textContent: "only", ariaLabel: `Show only ${name}` });
    box.addEventListener("change", () => {
      const hidden = new Set(this.stage.hidden);
      if (box.checked) hidden.delete(index);
      else hidden.add(index);
      this.#hide(hidden);
    });
    only.addEventListener("click", () => this.#hide(new Set(classesBut(index, this.stage.classes.length))));
    row.addEventListener("pointerenter", ({ pointerType }) => pointerType === "mouse" && this.#focus(index));
    row.addEventListener("pointerleave", () => this.#focus(null));
    row.append(label, only);
    return row;
  }

  #hide(hidden) {
    this.stage.hidden = hidden;
    if (hidden.has(this.stage.focus)) this.stage.focus = null;
    this.#mark();
    this.stage.paint();
  }

  #focus(index) {
    const focus = this.stage.hidden.has(index) ? null : index;
    if (this.stage.focus === focus) return;
    this.stage.focus = focus;
    this.stage.paint();
  }

  #mark() {
    for (const [index, row] of this.rows) row.querySelector("input").checked = !this.stage.hidden.has(index);
    this.showAll.hidden = ![...this.rows.keys()].some((index) => this.stage.hidden.has(index));
  }
}

function setShare(row, share) {
  row.style.setProperty("--share", share);
  row.querySelector(".share").textContent = percent(share);
}

/** Show the stages as a bar and as a list. */
export function showTimes(stages, { total, bar, list }) {
  const sum = stages.reduce((sum, [, time]) => sum + time, 0);
  total.textContent = milliseconds(sum);
  bar.replaceChildren(
    ...stages.map(([, time], i) => {
      const part = element("span");
      part.style.setProperty("--part", time / sum);
      part.style.setProperty("--step", i);
      return part;
    }),
  );
  list.replaceChildren(
    ...stages.map(([name, time], i) => {
      const entry = element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: milliseconds(time) }));
      entry.style.setProperty("--step", i);
      return entry;
    }),
  );
}

function classesBut(index, count) {
  return Array.from({ length: count }, (_, i) => i).filter((i) => i !== index);
}

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
