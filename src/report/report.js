// What moves on the page of results. It runs inside one function, after page/charts.js.

/** The series of a figure, from its table of values. */
const fromTable = (table, count) => {
  const series = Array.from({ length: count }, () => ({ x: [], y: [], low: [], high: [] }));
  for (const row of $$("tbody tr", table)) {
    const x = Number(row.cells[0].textContent);
    series.forEach((one, k) => {
      const text = row.cells[k + 1].textContent.trim();
      if (!text) return;
      const [, median, low, high] = text.match(/^(\S+)(?: \((\S+) to (\S+)\))?$/) ?? [];
      const value = (part) => (part === "–" ? NaN : Number(part));
      one.x.push(x);
      one.y.push(value(median));
      one.low.push(value(low ?? median));
      one.high.push(value(high ?? median));
    });
  }
  return series;
};

for (const figure of $$("figure.chart:not(.panel)")) {
  const settings = json(".settings", figure);
  if (!settings) continue;
  const chart = new Chart(figure, settings);
  fromTable($("table.values", figure), settings.series.length).forEach((values, k) => Object.assign(chart.series[k], values));
  chart.draw();
}

const maps = new Map($$(".heat-map").map((element) => [element, new HeatMap(element)]));
for (const [element, map] of maps) {
  const quantities = json(".quantities", element);
  const choice = $(".quantity", element);
  if (!quantities || !choice) continue;
  choice.addEventListener("change", () => {
    const values = quantities[choice.value];
    const order = [...new Set(map.cells().filter((cell) => cell.dataset.cell).map((cell) => Number(cell.dataset.cell)))].sort((a, b) => a - b);
    for (const cell of map.cells()) {
      if (!cell.dataset.cell) continue;
      ($("a", cell) ?? cell).textContent = short(values[order.indexOf(Number(cell.dataset.cell))] ?? NaN, 3);
    }
    const [low, high] = map.range();
    map.log.checked = low > 0 && high > 100 * low;
    $(".bar-label", element).textContent = `${choice.selectedOptions[0].textContent}, at the end, median over repeats`;
    map.paint();
    element.dispatchEvent(new Event("changed"));
  });
}

// ---- runs ----

const numbers = (text, bytes) => {
  const { buffer } = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return bytes === 8 ? new Float64Array(buffer) : new Float32Array(buffer);
};

class Explorer {
  constructor(element) {
    this.element = element;
    this.runs = json(".runs", element);
    this.panels = new Panels(element, json(".words", element));
    this.select = $("select.run", element);
    this.slider = $(".slider", element);
    this.select.addEventListener("change", () => this.open(Number(this.select.value)));
    this.slider.addEventListener("input", () => this.frame());
    this.timer = null;
    $(".play", element).addEventListener("click", () => this.play());
    this.open(0);
  }

  open(index) {
    // Runs are compared at the same time.
    const time = this.run?.times[Number(this.slider.value)];
    this.stop();
    this.run = this.runs[index];
    this.select.value = String(index);
    const arrays = {};
    for (const [name, [shape, data, bytes]] of Object.entries(this.run.arrays)) {
      arrays[name] = [shape, numbers(data, bytes), shape.reduce((product, length) => product * length, 1)];
    }
    this.slider.max = String(this.run.times.length - 1);
    const distance = (frame) => Math.abs(this.run.times[frame] - time);
    const frames = this.run.times.map((_, frame) => frame);
    this.slider.value = time === undefined ? this.slider.max : frames.reduce((best, frame) => (distance(frame) < distance(best) ? frame : best));
    for (const part of ["label", "directory", "message"]) $(`.${part}`, this.element).textContent = this.run[part];
    this.hypotheses();
    this.panels.open(this.run.times, arrays);
    this.frame();
  }

  frame() {
    const frame = Number(this.slider.value);
    const time = this.run.times[frame];
    $$(".now", this.element).forEach((now) => (now.textContent = `t = ${short(time)}`));
    this.slider.setAttribute("aria-valuetext", `t = ${short(time)}`);
    this.panels.show(frame);
    const part = this.run.times.length > 1 ? (frame + 0.5) / this.run.times.length : 0.5;
    $$(".cursor", this.element).forEach((cursor) => (cursor.style.left = `${100 * part}%`));
  }

  hypotheses() {
    const place = $(".hypotheses", this.element);
    if (!place) return;
    $$(".hypothesis", place).forEach((old) => old.remove());
    for (const [name, of, letters, told] of this.run.hypotheses) {
      const stretches = letters.match(/(.)\1*/g) ?? [];
      const spans = stretches.map((stretch) => `<span class="${stretch[0]}" style="flex:${stretch.length}"></span>`).join("");
      place.insertAdjacentHTML(
        "beforeend",
        `<div class="hypothesis"><span class="name">${escape(name)} <span class="small">(${escape(of)})</span></span>` +
          `<span class="strip" role="img" aria-label="${escape(told)}">${spans}<span class="cursor" aria-hidden="true"></span></span>` +
          `<span class="told small">${escape(told)}</span></div>`,
      );
    }
  }

  stop() {
    const button = $(".play", this.element);
    clearInterval(this.timer);
    this.timer = null;
    button.textContent = "▶ Play";
    button.setAttribute("aria-pressed", "false");
  }

  play() {
    const button = $(".play", this.element);
    if (this.timer) {
      this.stop();
      return;
    }
    if (this.slider.value === this.slider.max) this.slider.value = "0";
    button.textContent = "❚❚ Pause";
    button.setAttribute("aria-pressed", "true");
    this.frame();
    this.timer = setInterval(() => {
      if (this.slider.value === this.slider.max) {
        this.stop();
        return;
      }
      this.slider.value = String(Number(this.slider.value) + 1);
      this.frame();
    }, 100);
  }

  openCell(cell) {
    const index = this.runs.findIndex((run) => run.cell === cell);
    if (index >= 0) this.open(index);
  }
}

const explorers = new Map($$(".explorer").map((element) => [element.dataset.experiment, new Explorer(element)]));
const openRun = (experiment, cell) => {
  const explorer = explorers.get(experiment);
  if (!explorer) return;
  explorer.openCell(cell);
  explorer.element.scrollIntoView();
  explorer.select.focus({ preventScroll: true });
};
for (const link of $$(".sweep td a")) {
  // The arrow keys and Enter lead through the table: one stop for the tabulator, not hundreds.
  link.tabIndex = -1;
  link.addEventListener("click", () => link.hash === location.hash && follow());
}

/** What a link leads to may lie in a closed part of the page, or be a run. */
const follow = () => {
  let hash = location.hash.slice(1);
  try {
    hash = decodeURIComponent(hash);
  } catch {
    // Then it is as it stands.
  }
  const run = hash.match(/^run-(.*)-(\d+)$/);
  if (run) {
    openRun(run[1], Number(run[2]));
    return;
  }
  const target = hash ? document.getElementById(hash) : null;
  for (let around = target; around; around = around.parentElement) if (around.tagName === "DETAILS") around.open = true;
  target?.scrollIntoView();
};

// ---- verdicts ----

const table = $("#claims");
if (table) {
  const rows = $$("tbody tr", table);
  const search = $("#claim-search");
  const boxes = $$(".filters input[type=checkbox]");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.has(row.dataset.name) || !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    $("#claim-count").textContent = `${shown} of ${rows.length} claims`;
  };
  search.addEventListener("input", filter);
  boxes.forEach((box) => box.addEventListener("change", filter));
  // A browser may have kept what was typed.
  filter();
  for (const button of $$("thead button", table)) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      const descending = header.getAttribute("aria-sort") === "ascending";
      $$("thead th", table).forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = button.dataset.key;
      const value = (row) => (key === "text" ? row.cells[2].textContent : Number(row.dataset[key]));
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const order = typeof x === "string" ? x.localeCompare(y) : x - y;
        return (descending ? -order : order) || a.dataset.order - b.dataset.order;
      };
      $("tbody", table).append(...rows.toSorted(compare));
    });
  }
}

// ---- the rest ----

for (const button of $$(".copy")) {
  button.addEventListener("click", async () => {
    const text = $("pre", button.parentElement);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: copy with the keyboard";
    }
  });
}

addEventListener("hashchange", follow);
follow();
