// The parts that all pages are made of: numbers, colours, charts and heat maps. It runs inside one function with what follows it.

const root = document.documentElement;
root.classList.remove("no-script");
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const json = (selector, within) => {
  const element = $(selector, within);
  return element ? JSON.parse(element.textContent) : null;
};
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// ---- numbers and colours ----

const short = (value, digits = 4) => {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e5) return String(value);
  if (size >= 1e-3 && size < 1e5) {
    return value.toFixed(clamp(digits - 1 - Math.floor(Math.log10(size)), 0, digits + 2));
  }
  return value.toExponential(Math.max(digits - 2, 0)).replace("e+", "e");
};
const palette = json("#palette");
const mixed = (level) => {
  const at = clamp(level, 0, 1) * (palette.length - 1);
  const index = Math.min(Math.floor(at), palette.length - 2);
  const channel = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  return [0, 1, 2].map((k) => {
    const [a, b] = [channel(palette[index], k), channel(palette[index + 1], k)];
    return Math.round(a + (b - a) * (at - index));
  });
};
/** Black or white, whichever can be read better. */
const inkOn = (parts) => {
  const [r, g, b] = parts.map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179 ? "#fff" : "#000";
};
const isDark = () => {
  const chosen = root.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
// The ends of the scale that paper, light or dark, would swallow are left out.
const lineColour = (shade) => `rgb(${mixed(isDark() ? 0.35 + 0.65 * shade : 0.8 * shade)})`;
const paint = (cell, level) => {
  const parts = level === null ? [216, 216, 216] : mixed(level);
  cell.style.background = `rgb(${parts})`;
  cell.style.color = inkOn(parts);
};
const levelOf = (value, low, high, log) => {
  if (!Number.isFinite(value) || (log && value <= 0)) return null;
  if (!(high > low)) return 0.5;
  const part = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return clamp(part, 0, 1);
};

// ---- charts ----

const LEFT = 80, RIGHT = 16, TOP = 12, BOTTOM = 52;
const redrawn = [];

/** Steps of 1, 2 or 5 times a power of ten. */
const linearTicks = (low, high, most) => {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((step) => step >= rough * (1 - 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(k * step);
  return ticks;
};

/** A tick's value, in as many digits as tell it from its neighbours. */
const tickText = (value, ticks) => {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : Math.abs(value) || 1;
  const largest = Math.max(...ticks.map(Math.abs));
  const decimals = Math.max(-Math.floor(Math.log10(step) + 1e-9), 0);
  if (largest < 1e5 && decimals < 5) return value.toFixed(decimals);
  return value === 0 ? "0" : value.toExponential(clamp(Math.ceil(Math.log10(Math.abs(value) / step) - 1e-9), 0, 12)).replace("e+", "e");
};

/** Markers of series, so that colour is not needed to tell them apart. */
const SHAPES = [
  (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x} ${y - 1.3 * r}l${1.2 * r} ${2.2 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x} ${y - 1.4 * r}l${1.4 * r} ${1.4 * r}l${-1.4 * r} ${1.4 * r}l${-1.4 * r} ${-1.4 * r}z`,
];
const marker = (index, x, y, r, colour) => `<path fill="${colour}" d="${SHAPES[index % SHAPES.length](+x.toFixed(1), +y.toFixed(1), r)}"/>`;

/** How far a chart zooms: to this part of what there is, and to so many times of it. */
const DEEPEST = 1e-6, WIDEST = 20;
const POINT = "Point at a value, or drag to zoom.";

class Chart {
  constructor(element, settings) {
    this.element = element;
    this.settings = settings;
    this.svg = $(".plot", element);
    this.readout = $(".readout", element);
    this.log = { x: settings.x.log, y: settings.y.log };
    this.series = settings.series.map((series) => ({ ...series, on: true, x: [], y: [], low: [], high: [] }));
    this.view = null;
    this.range = null;
    this.cursor = null;
    this.told = null;
    for (const axis of ["x", "y"]) {
      const box = $(`.log-${axis}`, element);
      box.addEventListener("change", () => {
        this.log[axis] = box.checked;
        this.view = null;
        this.draw();
      });
    }
    $(".zoom-in", element).addEventListener("click", () => this.zoom(0.5));
    $(".zoom-out", element).addEventListener("click", () => this.zoom(2));
    $(".reset", element).addEventListener("click", () => this.reset());
    this.listenToLegend();
    this.listenToPointer();
    this.svg.addEventListener("keydown", (event) => this.key(event));
    redrawn.push(() => this.draw());
    this.fit();
    new ResizeObserver(() => this.fit() && this.draw()).observe(this.svg);
  }

  /** Units of the drawing are those of the page, so that letters keep their size; whether they have changed. */
  fit() {
    const width = clamp(Math.round(this.svg.clientWidth || 640), 240, 900);
    if (width === this.width) return false;
    [this.width, this.height] = [width, Math.round(0.62 * width + 10)];
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    return true;
  }

  listenToLegend() {
    for (const box of $$(".legend input", this.element)) {
      box.addEventListener("change", () => {
        this.series[Number(box.dataset.series)].on = box.checked;
        this.draw();
      });
    }
  }

  /** Other series; the legend is made anew where their names are others. */
  show(series, range) {
    const names = (list) => list.map((one) => one.label).join("\n");
    const same = names(series) === names(this.series);
    this.series = series.map((one, k) => ({ low: [], high: [], style: "line", ...one, on: same ? this.series[k].on : true }));
    this.range = range;
    if (!same) {
      this.view = null;
      $$(".key", this.element).forEach((key) => key.remove());
      const keys = series.map(
        (one, k) => `<label class="key"><input type="checkbox" checked data-series="${k}"><span class="swatch" aria-hidden="true"></span>${escape(one.label)}</label>`,
      );
      $(".legend", this.element).insertAdjacentHTML("beforeend", keys.join(""));
      this.listenToLegend();
    }
    this.draw();
  }

  /** The scale of an axis, or a linear one where no value is positive. */
  isLog(axis) {
    return this.log[axis] && this.series.some((one) => one[axis].some((value) => value > 0));
  }

  shown(value, axis, one) {
    if (!Number.isFinite(value)) return false;
    if (this.isLog(axis) && value <= 0) return false;
    return !(axis === "y" && value < this.floorOf(one));
  }

  /** Nothing below its numerical floor is a value: of a series that has one of its own, or of all. */
  floorOf(one) {
    return one?.floor ?? this.settings.floor ?? -Infinity;
  }

  transformed(value, axis) {
    return this.isLog(axis) ? Math.log10(value) : value;
  }

  /** What the axis shows unless it is zoomed, transformed. */
  extent(axis) {
    const given = this.range?.[axis];
    let values = given ?? [];
    if (!given) {
      for (const one of this.series) {
        if (!one.on) continue;
        one.x.forEach((x, k) => {
          if (!this.shown(x, "x") || !this.shown(one.y[k], "y", one)) return;
          values.push(axis === "x" ? x : one.y[k]);
          if (axis === "y") values.push(...[one.low[k], one.high[k]].filter((edge) => edge !== undefined));
        });
      }
      const widening = this.settings.references.filter((one) => one.axis === axis && one.widens);
      values.push(...widening.map((one) => one.value));
      const below = axis === "y" && this.settings.floor && this.series.some((one) => one.y.some((y) => y < this.settings.floor));
      if (below) values.push(this.settings.floor);
    }
    // A range that is given holds values of other times, whose floors were others.
    values = values.filter((value) => this.shown(value, axis, given && { floor: -Infinity })).map((value) => this.transformed(value, axis));
    if (!values.length) return [0, 1];
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = high > low ? 0.04 * (high - low) : Math.max(0.5 * Math.abs(low), 0.5);
    return [low - margin, high + margin];
  }

  draw() {
    const [x, y] = ["x", "y"].map((axis) => this.view?.[axis] ?? this.extent(axis));
    this.drawn = { x, y };
    const toX = (value) => LEFT + ((this.transformed(value, "x") - x[0]) / (x[1] - x[0])) * (this.width - LEFT - RIGHT);
    const toY = (value) => this.height - BOTTOM - ((this.transformed(value, "y") - y[0]) / (y[1] - y[0])) * (this.height - TOP - BOTTOM);
    this.toX = toX;
    this.toY = toY;
    const clip = this.clip ?? (this.clip = `clip-${redrawn.length}-${Math.random().toString(36).slice(2)}`);
    const parts = [`<defs><clipPath id="${clip}"><rect x="${LEFT}" y="${TOP}" width="${this.width - LEFT - RIGHT}" height="${this.height - TOP - BOTTOM}"/></clipPath></defs>`];
    parts.push(this.axis("x", x), this.axis("y", y));
    parts.push(`<g clip-path="url(#${clip})">`);
    const floor = this.settings.floor;
    if (floor && this.transformed(floor, "y") > y[0]) {
      const top = Math.max(toY(floor), TOP);
      parts.push(`<rect class="floor" x="${LEFT}" y="${top}" width="${this.width - LEFT - RIGHT}" height="${this.height - BOTTOM - top}"/>`);
      parts.push(`<text class="note" x="${LEFT + 6}" y="${Math.min(top + 14, this.height - BOTTOM - 4)}">numerical floor</text>`);
    }
    for (const reference of this.settings.references) {
      if (!this.shown(reference.value, reference.axis)) continue;
      const at = reference.axis === "x" ? toX(reference.value) : toY(reference.value);
      const line = reference.axis === "x" ? `x1="${at}" x2="${at}" y1="${TOP}" y2="${this.height - BOTTOM}"` : `x1="${LEFT}" x2="${this.width - RIGHT}" y1="${at}" y2="${at}"`;
      parts.push(`<line class="reference" ${line}/>`);
      if (reference.label) {
        const place = reference.axis === "x" ? `x="${at + 4}" y="${TOP + 14}"` : `x="${this.width - RIGHT - 4}" y="${at - 4}" text-anchor="end"`;
        parts.push(`<text class="note" ${place}>${escape(reference.label)}</text>`);
      }
    }
    if (this.cursor !== null && this.shown(this.cursor, "x")) {
      parts.push(`<line class="time-cursor" x1="${toX(this.cursor)}" x2="${toX(this.cursor)}" y1="${TOP}" y2="${this.height - BOTTOM}"/>`);
    }
    this.points = [];
    this.series.forEach((one, index) => {
      if (one.on) parts.push(this.drawnSeries(one, index));
    });
    // Of the start, at time 0, everybody knows.
    const lost = (axis) => {
      if (!this.isLog(axis) || (axis === "x" && this.settings.x.label.startsWith("training time"))) return "";
      const count = this.series.filter((one) => one.on).flatMap((one) => one[axis]).filter((value) => value <= 0).length;
      return count ? `not shown: ${axis} ≤ 0 of ${count}` : "";
    };
    const words = ["x", "y"].map(lost).filter(Boolean);
    if (words.length) parts.push(`<text class="note" x="${this.width - RIGHT - 4}" y="${TOP + 12}" text-anchor="end">${words.join(", ")}</text>`);
    parts.push(`</g><g class="hit"></g>`);
    this.svg.innerHTML = parts.join("");
    $$(".key", this.element).forEach((key, k) => {
      const one = this.series[k];
      if (!one) return;
      const marked = (this.settings.ranks && one.style !== "theory") || one.style === "points";
      const line = one.style === "points" ? "" : `<line x1="1" x2="27" y1="7" y2="7" stroke="${lineColour(one.shade)}" stroke-width="2.5"${one.style === "theory" ? ' stroke-dasharray="6 4"' : ""}/>`;
      $(".swatch", key).innerHTML = `<svg width="28" height="14">${line}${marked ? marker(k, 14, 7, 4, lineColour(one.shade)) : ""}</svg>`;
    });
    // What was told of stays told of, with its value of now.
    if (this.told) {
      const point = this.points.find(({ index, k }) => index === this.told.index && k === this.told.k);
      if (point) this.highlight(point);
      else {
        this.told = null;
        this.readout.textContent = POINT;
      }
    }
  }

  drawnSeries(one, index) {
    const colour = lineColour(one.shade);
    const { toX, toY } = this;
    const pieces = [[]];
    one.x.forEach((x, k) => {
      if (!this.shown(x, "x")) return;
      if (!this.shown(one.y[k], "y", one)) {
        pieces.push([]);
        return;
      }
      pieces[pieces.length - 1].push(k);
    });
    const parts = [];
    for (const piece of pieces.filter((piece) => piece.length)) {
      const at = (values, k) => `${toX(one.x[k]).toFixed(1)},${toY(values[k]).toFixed(1)}`;
      for (const k of piece) this.points.push({ index, k, x: toX(one.x[k]), y: toY(one.y[k]) });
      const floor = this.floorOf(one);
      const least = this.isLog("y") ? Math.max(floor, 10 ** this.drawn.y[0]) : floor;
      const low = one.y.map((y, k) => Math.max(one.low[k] ?? y, least));
      const high = one.y.map((y, k) => one.high[k] ?? y);
      const banded = piece.some((k) => low[k] < one.y[k] || high[k] > one.y[k]);
      if (one.style === "points") {
        for (const k of piece) {
          if (banded) parts.push(`<line stroke="${colour}" stroke-width="1.5" x1="${toX(one.x[k])}" x2="${toX(one.x[k])}" y1="${toY(low[k])}" y2="${toY(high[k])}"/>`);
          parts.push(marker(index, toX(one.x[k]), toY(one.y[k]), 4, colour));
        }
        continue;
      }
      if (banded) {
        const edge = [...piece.map((k) => at(high, k)), ...piece.toReversed().map((k) => at(low, k))];
        parts.push(`<polygon fill="${colour}" fill-opacity="0.2" points="${edge.join(" ")}"/>`);
      }
      const dash = one.style === "theory" ? ' stroke-dasharray="6 4"' : "";
      parts.push(`<polyline fill="none" stroke="${colour}" stroke-width="2"${dash} points="${piece.map((k) => at(one.y, k)).join(" ")}"/>`);
      // A value alone is no line.
      if ((this.settings.ranks && one.style !== "theory") || piece.length === 1) {
        for (const k of piece) parts.push(marker(index, toX(one.x[k]), toY(one.y[k]), 3, colour));
      }
    }
    return parts.join("");
  }

  axis(axis, [low, high]) {
    const isX = axis === "x";
    const log = this.isLog(axis);
    const most = clamp(Math.floor((isX ? this.width / 80 : this.height / 55)), 3, 7);
    const parts = [];
    let ticks = [];
    const minor = [];
    if (log && high - low > 1.2) {
      const step = Math.max(1, Math.ceil((high - low) / most));
      for (let power = Math.ceil(low); power <= high; power++) {
        if (power % step === 0) ticks.push({ at: power, text: `10<tspan dy="-5" font-size="10">${power}</tspan>` });
        else if (step < 10) minor.push(power);
        if (step === 1) for (let k = 2; k < 10; k++) minor.push(power + Math.log10(k));
      }
      if (step === 1) for (let k = 2; k < 10; k++) minor.push(Math.ceil(low) - 1 + Math.log10(k));
    } else if (log) {
      const found = linearTicks(10 ** low, 10 ** high, Math.min(most, 5)).filter((value) => value > 0);
      ticks = found.map((value) => ({ at: Math.log10(value), text: tickText(value, found) }));
    } else {
      const found = linearTicks(low, high, most);
      ticks = found.map((value) => ({ at: value, text: tickText(value, found) }));
    }
    const place = (at) => (isX ? LEFT + ((at - low) / (high - low)) * (this.width - LEFT - RIGHT) : this.height - BOTTOM - ((at - low) / (high - low)) * (this.height - TOP - BOTTOM));
    for (const { at, text } of ticks) {
      const p = place(at).toFixed(1);
      parts.push(isX ? `<line class="grid" x1="${p}" x2="${p}" y1="${TOP}" y2="${this.height - BOTTOM}"/><text x="${p}" y="${this.height - BOTTOM + 18}" text-anchor="middle">${text}</text>` : `<line class="grid" x1="${LEFT}" x2="${this.width - RIGHT}" y1="${p}" y2="${p}"/><text x="${LEFT - 6}" y="${Number(p) + 4}" text-anchor="end">${text}</text>`);
    }
    for (const at of minor.filter((at) => at >= low && at <= high)) {
      const p = place(at).toFixed(1);
      parts.push(isX ? `<line class="tick" x1="${p}" x2="${p}" y1="${this.height - BOTTOM}" y2="${this.height - BOTTOM - 4}"/>` : `<line class="tick" x1="${LEFT}" x2="${LEFT + 4}" y1="${p}" y2="${p}"/>`);
    }
    const label = escape(this.settings[axis].label);
    if (isX) {
      parts.push(`<line class="frame" x1="${LEFT}" x2="${this.width - RIGHT}" y1="${this.height - BOTTOM}" y2="${this.height - BOTTOM}"/><text x="${(LEFT + this.width - RIGHT) / 2}" y="${this.height - 12}" text-anchor="middle">${label}</text>`);
    } else {
      const middle = (TOP + this.height - BOTTOM) / 2;
      parts.push(`<line class="frame" x1="${LEFT}" x2="${LEFT}" y1="${TOP}" y2="${this.height - BOTTOM}"/><text transform="translate(16 ${middle}) rotate(-90)" text-anchor="middle">${label}</text>`);
    }
    return parts.join("");
  }

  reset() {
    this.view = null;
    this.draw();
  }

  zoom(factor) {
    const zoomed = ([low, high]) => {
      const [middle, half] = [(low + high) / 2, ((high - low) / 2) * factor];
      return [middle - half, middle + half];
    };
    this.look({ x: zoomed(this.drawn.x), y: zoomed(this.drawn.y) });
  }

  /** Shows this part, unless it is too small or too large to make sense. */
  look(view) {
    const fits = ["x", "y"].every((axis) => {
      const [low, high] = this.extent(axis);
      const part = (view[axis][1] - view[axis][0]) / (high - low);
      return part >= DEEPEST && part <= WIDEST;
    });
    if (fits) this.view = view;
    this.draw();
  }

  place(event) {
    const box = this.svg.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * this.width) / box.width, y: ((event.clientY - box.top) * this.height) / box.height };
  }

  listenToPointer() {
    let start = null;
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = this.place(event);
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => {
      const at = this.place(event);
      if (start) {
        const [x, width, y, height] = [Math.min(start.x, at.x), Math.abs(at.x - start.x), Math.min(start.y, at.y), Math.abs(at.y - start.y)];
        $(".hit", this.svg).innerHTML = `<rect class="drag" x="${x}" y="${y}" width="${width}" height="${height}"/>`;
      } else {
        this.highlight(this.nearest(at));
      }
    });
    const end = (event) => {
      const at = this.place(event);
      const from = start;
      start = null;
      $(".hit", this.svg).innerHTML = "";
      if (!from) return;
      const [wide, high] = [Math.abs(at.x - from.x) >= 8, Math.abs(at.y - from.y) >= 8];
      if (!wide && !high) {
        this.highlight(this.nearest(at));
        return;
      }
      const { x, y } = this.drawn;
      const back = ([low, high], part) => low + part * (high - low);
      const partX = (p) => clamp((p - LEFT) / (this.width - LEFT - RIGHT), 0, 1);
      const partY = (p) => clamp((this.height - BOTTOM - p) / (this.height - TOP - BOTTOM), 0, 1);
      const sorted = (a, b) => [Math.min(a, b), Math.max(a, b)];
      // A drag along an axis is a zoom of that axis alone.
      this.look({
        x: wide ? sorted(back(x, partX(from.x)), back(x, partX(at.x))) : x,
        y: high ? sorted(back(y, partY(from.y)), back(y, partY(at.y))) : y,
      });
    };
    this.svg.addEventListener("pointerup", end);
    this.svg.addEventListener("pointercancel", () => {
      start = null;
      $(".hit", this.svg).innerHTML = "";
    });
    this.svg.addEventListener("dblclick", () => this.reset());
  }

  /** The points that are in view. */
  visible() {
    const inside = ({ x, y }) => x >= LEFT - 1 && x <= this.width - RIGHT + 1 && y >= TOP - 1 && y <= this.height - BOTTOM + 1;
    return this.points.filter(inside);
  }

  nearest({ x, y }) {
    const distance = (point) => (point.x - x) ** 2 + (point.y - y) ** 2;
    return this.visible().reduce((best, point) => (best && distance(best) <= distance(point) ? best : point), null);
  }

  highlight(point) {
    if (!point) return;
    this.told = { index: point.index, k: point.k };
    const one = this.series[point.index];
    const [low, high] = [one.low[point.k], one.high[point.k]];
    const band = low !== undefined && (low < one.y[point.k] || high > one.y[point.k]) ? ` (${short(low)} to ${short(high)})` : "";
    const label = one.label ? `${one.label}: ` : "";
    this.readout.textContent = `${label}${short(one.y[point.k], 5)}${band} at ${this.settings.x.label} ${short(one.x[point.k], 5)}`;
    $(".hit", this.svg).innerHTML = `<circle class="ring" r="7" cx="${point.x}" cy="${point.y}"/>`;
  }

  key(event) {
    const keys = { "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.reset(), Escape: () => this.reset() };
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const other = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (keys[event.key]) keys[event.key]();
    else if (move || other) {
      const points = this.visible();
      if (!points.length) return;
      const at = points.findIndex(({ index, k }) => index === this.told?.index && k === this.told?.k);
      if (at < 0) this.highlight(points[0]);
      else if (move) this.highlight(points[clamp(at + move, 0, points.length - 1)]);
      else {
        const now = points[at];
        const series = [...new Set(points.map((point) => point.index))];
        const next = series[clamp(series.indexOf(now.index) + other, 0, series.length - 1)];
        const same = points.filter((point) => point.index === next);
        this.highlight(same.reduce((best, point) => (Math.abs(point.x - now.x) < Math.abs(best.x - now.x) ? point : best)));
      }
    } else return;
    event.preventDefault();
  }
}

// ---- heat maps ----

class HeatMap {
  constructor(element) {
    this.element = element;
    this.readout = $(".readout", element);
    this.tables = $$("table.heat", element);
    this.log = $(".log-colour", element);
    this.log?.addEventListener("change", () => this.paint());
    // The values of cells are others now.
    element.addEventListener("changed", () => this.tell($("td.at", element)));
    for (const table of this.tables) {
      table.addEventListener("pointerover", (event) => this.tell(event.target.closest("td")));
      table.addEventListener("focusin", (event) => this.tell(event.target.closest("td")));
      table.addEventListener("keydown", (event) => this.key(event, table));
    }
  }

  cells() {
    return this.tables.flatMap((table) => $$("tbody td", table));
  }

  value(cell) {
    const text = cell.textContent.trim();
    return text === "" || text === "–" ? NaN : parseFloat(text);
  }

  range() {
    const [table] = this.tables;
    if (table.dataset.low) return [Number(table.dataset.low), Number(table.dataset.high)];
    const values = this.cells().map((cell) => this.value(cell)).filter((value) => Number.isFinite(value) && !(this.log?.checked && value <= 0));
    return [Math.min(...values), Math.max(...values)];
  }

  paint() {
    let [low, high] = this.range();
    const positive = this.cells().map((cell) => this.value(cell)).filter((value) => value > 0);
    // Without a positive value there is no logarithm.
    const log = (this.log?.checked ?? false) && positive.length > 0;
    if (log && low <= 0) low = Math.min(...positive);
    for (const cell of this.cells()) if (cell.textContent.trim() !== "") paint(cell, levelOf(this.value(cell), low, high, log));
    const bar = $(".colour-bar", this.element);
    if (!bar) return;
    [$(".bar-low", bar).textContent, $(".bar-high", bar).textContent] = [short(low, 3), short(high, 3)];
    $(".bar-scale", bar).textContent = log ? "logarithmic" : "";
  }

  tell(cell) {
    if (!cell || !cell.closest("tbody") || cell.textContent.trim() === "") return;
    $$("td.at", this.element).forEach((other) => other.classList.remove("at"));
    cell.classList.add("at");
    const table = cell.closest("table");
    const column = $("thead tr", table)?.cells[cell.cellIndex]?.textContent ?? cell.cellIndex + 1;
    const header = $("th", cell.parentElement);
    const row = header?.textContent ?? cell.parentElement.rowIndex + 1;
    const named = [header && row, $("thead tr", table) && column].filter(Boolean);
    const where = named.length ? named.join(" · ") : `row ${row}, column ${column}`;
    const panel = $(".panel-name", table)?.textContent;
    const quantity = $(".quantity", this.element)?.selectedOptions[0].textContent;
    this.readout.textContent = `${panel ? `${panel}: ` : ""}${where}: ${quantity ? `${quantity} ` : ""}${cell.textContent.trim()}`;
  }

  key(event, table) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const rows = $$("tbody tr", table);
    const now = $("td.at", table);
    if (event.key === "Enter" && now && event.target === table) {
      $("a", now)?.click();
      return;
    }
    if (!step) return;
    event.preventDefault();
    const inRow = (row) => $$("td", row);
    const at = now ? [rows.indexOf(now.parentElement), inRow(now.parentElement).indexOf(now)] : [0, 0];
    const row = rows[clamp(at[0] + (now ? step[0] : 0), 0, rows.length - 1)];
    const cells = inRow(row);
    this.tell(cells[clamp(at[1] + (now ? step[1] : 0), 0, cells.length - 1)]);
  }
}

// ---- a run, frame by frame ----

/** Panels that show one recorded time of a run: spectra, eigenvalues of X, alignment, a table, and curves with a cursor. */
class Panels {
  constructor(element, words) {
    this.element = element;
    this.words = words;
    this.charts = Object.fromEntries($$("figure.chart.panel", element).map((panel) => [panel.dataset.panel, new Chart(panel, json(".settings", panel))]));
    this.alignment = $('[data-panel="alignment"]', element);
    this.now = 0;
    [this.times, this.arrays] = [[], {}];
    const details = $(".now-values", element);
    // What is folded away need not move.
    $(".fixed", element).addEventListener("change", () => this.show(this.now));
    details.addEventListener("toggle", () => details.open && this.table(this.now));
    if (this.alignment) $(".layers", this.alignment).addEventListener("change", () => this.align(this.now));
  }

  /** Another run: its times, and its arrays by name, each with the shape of a row, all numbers, and how many a row has. */
  open(times, arrays) {
    this.times = times;
    this.arrays = arrays;
    if (this.alignment) {
      const layers = this.named("alignment_");
      this.alignment.hidden = layers.length === 0;
      const choice = $(".layers", this.alignment);
      const before = choice.value;
      choice.innerHTML = layers.map((name) => `<option value="${escape(name)}">${escape(this.words[name] ?? name)}</option>`).join("");
      if (layers.includes(before)) choice.value = before;
    }
    this.seen = 0;
    this.span = { sigma: [Infinity, -Infinity], x: [0, 0] };
    this.fit();
  }

  row(name, frame) {
    const [, data, length] = this.arrays[name];
    return (data.subarray ?? data.slice).call(data, frame * length, (frame + 1) * length);
  }

  /** The numerical floor of a spectrum. */
  floor(name, frame) {
    const floor = name.replace("sigma_", "floor_");
    return name.startsWith("sigma_") && this.arrays[floor] ? this.row(floor, frame)[0] : null;
  }

  named(prefix) {
    return Object.keys(this.arrays).filter((name) => name.startsWith(prefix));
  }

  /** Axes stay as they are while time moves: all times count, those that have come since as well. */
  fit() {
    const wider = (range, value) => [Math.min(range[0], value), Math.max(range[1], value)];
    const end = this.times.length - 1;
    for (; this.seen <= end; this.seen++) {
      for (const name of this.named("sigma_")) {
        const floor = this.floor(name, this.seen);
        for (const value of this.row(name, this.seen)) if (value > 0 && value >= floor) this.span.sigma = wider(this.span.sigma, value);
      }
      if (this.arrays.eig_x) {
        for (const value of this.row("eig_x", this.seen)) if (Number.isFinite(value)) this.span.x = wider(this.span.x, value);
      }
    }
    // Where a spectrum reaches its floor at the end, the floor is shown.
    const sunk = this.named("sigma_").filter((name) => this.row(name, end).some((value) => value < this.floor(name, end)));
    const shown = sunk.map((name) => this.floor(name, end)).filter((floor) => floor > 0);
    const sigma = shown.reduce(wider, this.span.sigma);
    this.ranges = { spectra: Number.isFinite(sigma[0]) ? { y: sigma } : undefined, eigenvalues: { y: this.span.x } };
  }

  /** What an axis shows: all times, or what there is now. */
  range(panel) {
    return $(".fixed", this.element).checked ? this.ranges[panel] : null;
  }

  show(frame) {
    this.now = frame;
    if (!this.times.length) return;
    const ranks = (names) =>
      names.map((name, k) => {
        const y = [...this.row(name, frame)];
        const shade = names.length > 1 ? k / (names.length - 1) : 0;
        return { label: this.words[name] ?? name, shade, x: y.map((_, rank) => rank + 1), y, floor: this.floor(name, frame) };
      });
    const spectra = this.named("sigma_");
    const { charts } = this;
    if (charts.spectra) {
      // The lowest is below all that is a value; each spectrum ends at its own.
      const floors = spectra.map((name) => this.floor(name, frame)).filter((floor) => floor > 0);
      charts.spectra.settings.floor = floors.length ? Math.min(...floors) : null;
      charts.spectra.show(ranks(spectra), this.range("spectra"));
    }
    if (charts.eigenvalues) charts.eigenvalues.show(this.arrays.eig_x ? ranks(["eig_x"]) : [], this.range("eigenvalues"));
    const overTime = (chart, names) => {
      if (!chart) return;
      chart.cursor = this.times[frame];
      const series = names.map((name, k) => ({ label: this.words[name] ?? name, shade: names.length > 1 ? k / (names.length - 1) : 0, x: this.times, y: [...this.arrays[name][1]] }));
      chart.show(series, null);
    };
    overTime(charts.loss, this.arrays.loss ? ["loss"] : []);
    overTime(charts.ranks, this.named("effective_rank_"));
    this.align(frame);
    if ($(".now-values", this.element).open) this.table(frame);
  }

  align(frame) {
    if (!this.alignment || this.alignment.hidden || !this.times.length) return;
    const name = $(".layers", this.alignment).value;
    const [rows, columns] = this.arrays[name][0];
    const values = this.row(name, frame);
    const body = $("tbody", this.alignment);
    if (body.rows.length !== rows || body.rows[0].cells.length !== columns) {
      body.innerHTML = `<tr>${"<td></td>".repeat(columns)}</tr>`.repeat(rows);
      this.cells = null;
    }
    this.cells ??= $$("td", body);
    this.cells.forEach((cell, k) => {
      const value = Math.abs(values[k]);
      cell.textContent = short(value, 2);
      paint(cell, levelOf(value, 0, 1, false));
    });
    this.alignment.dispatchEvent(new Event("changed"));
  }

  table(frame) {
    const names = [...this.named("sigma_"), ...this.named("eig_x")];
    // Nothing below its floor is a value.
    const text = (name, value) => (value < (this.floor(name, frame) ?? -Infinity) ? `< ${short(this.floor(name, frame), 2)}` : short(value, 5));
    const rows = names.map((name) => [...this.row(name, frame)].map((value) => text(name, value)));
    const longest = Math.max(0, ...rows.map((row) => row.length));
    const head = names.map((name) => `<th scope="col">${escape(this.words[`title ${name}`] ?? this.words[name])}</th>`);
    const body = Array.from({ length: longest }, (_, k) => `<tr><th scope="row">${k + 1}</th>${rows.map((row) => `<td>${escape(row[k] ?? "")}</td>`).join("")}</tr>`);
    $(".now-table", this.element).innerHTML = `<thead><tr><th scope="col">k</th>${head.join("")}</tr></thead><tbody>${body.join("")}</tbody>`;
  }
}

// ---- light and dark ----

const redraw = () => redrawn.forEach((draw) => draw());
$("#theme").addEventListener("change", (event) => {
  if (event.target.value) root.dataset.theme = event.target.value;
  else delete root.dataset.theme;
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
