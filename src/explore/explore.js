// What moves on the page on which runs are tried out. It runs inside one function, after page/charts.js.

const form = $("#choices");
const place = $(".live-run");
const scrubber = $(".slider", place);
const state = $(".state", place);
const notUnderstood = $(".not-understood", place);
const fields = $$("[name]", form);

$$(".heat-map", place).forEach((element) => new HeatMap(element));
const panels = new Panels(place, {});

// ---- the setting ----

/** A slider and its field: places are whole numbers, equal differences, or equal ratios. */
for (const field of fields.filter((field) => field.type === "number")) {
  const slider = $("input[type=range]", field.parentElement);
  const [low, high, places, scale] = [Number(field.min), Number(field.max), Number(slider.max), slider.dataset.scale];
  const value = { whole: (place) => place, log: (place) => low * (high / low) ** (place / places), linear: (place) => low + ((high - low) * place) / places }[scale];
  const position = { whole: (value) => value, log: (value) => (places * Math.log(value / low)) / Math.log(high / low), linear: (value) => (places * (value - low)) / (high - low) }[scale];
  field.follow = () => {
    slider.value = String(Math.round(position(Number(field.value))));
    slider.setAttribute("aria-valuetext", field.value);
  };
  slider.addEventListener("input", () => {
    const exact = value(Number(slider.value));
    field.value = field.step === "1" ? String(Math.round(exact)) : String(Number(exact.toPrecision(3)));
    slider.setAttribute("aria-valuetext", field.value);
    changed();
  });
  field.addEventListener("input", () => {
    field.follow();
    changed();
  });
}
fields.filter((field) => field.tagName === "SELECT").forEach((field) => field.addEventListener("change", () => changed()));
form.addEventListener("submit", (event) => event.preventDefault());

/** What has no effect cannot be moved. */
const settle = () => {
  for (const choice of $$("[data-only-with]", form)) {
    const [other, values] = choice.dataset.onlyWith.split("=");
    const matters = values.split("|").includes($(`[name=${other}]`, form).value);
    $$("input, select", choice).forEach((control) => (control.disabled = !matters));
    choice.classList.toggle("idle", !matters);
  }
};

/** All that matters, as it stands in the address; 1e3 is a whole number too, and 1000 there. */
const query = () => new URLSearchParams(fields.filter((field) => !field.disabled).map((field) => [field.name, field.step === "1" ? String(Number(field.value)) : field.value])).toString();

/** Whether a text is one of the values that a field can have. */
const allows = (field, text) => {
  if (field.tagName === "SELECT") return [...field.options].some((option) => option.value === text);
  const form = field.step === "1" ? /^\d+$/ : /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i;
  return form.test(text) && Number(text) >= Number(field.min) && Number(text) <= Number(field.max);
};
const told = (text) => (text.length > 40 ? `${text.slice(0, 40)}…` : text || "nothing");

/** The setting of the address; what it leaves out, or says in a way that is not understood, is as at first. */
const fromAddress = () => {
  form.reset();
  const [wrong, seen] = [[], new Set()];
  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = fields.find((field) => field.name === name);
    if (!field) wrong.push(`there is no ${told(name)}`);
    else if (seen.has(name)) wrong.push(`${field.dataset.label} is given twice`);
    else if (!allows(field, value)) wrong.push(`${field.dataset.label} = ${told(value)}, allowed: ${field.dataset.allowed}`);
    else field.value = value;
    seen.add(name);
  }
  notUnderstood.textContent = wrong.length ? `Not understood in the address, and left as at first: ${wrong.join("; ")}.` : "";
  fields.forEach((field) => field.follow?.());
  settle();
};

// ---- the run ----

let frames = [];
let times = [];
let arrays = {};
let shown = -1;
let following = true;
let abort = null;
/** How the run ended, once it has. */
let ended = null;
/** Whether the panels know of this run. */
let opened = false;

/** What the panels show is of another setting than that of the controls. */
const outdate = () => {
  place.classList.add("outdated");
  scrubber.max = "0";
};

const show = (frame) => {
  shown = frame;
  place.classList.remove("outdated");
  scrubber.value = String(frame);
  const time = times[frame];
  $(".now", place).textContent = `t = ${short(time)}`;
  scrubber.setAttribute("aria-valuetext", `t = ${short(time)}`);
  panels.show(frame);
};

/** What the panels see of the frames up to this one. */
const upTo = (count) => {
  for (; times.length < count; ) {
    const { time, arrays: rows } = frames[times.length];
    times.push(time);
    for (const [name, [shape, row]] of Object.entries(rows)) {
      arrays[name] ??= [shape, [], row.length];
      for (const value of row) arrays[name][1].push(value ?? NaN);
    }
  }
  scrubber.max = String(times.length - 1);
  if (!opened) panels.open(times, arrays);
  else panels.fit();
  opened = true;
};

/** One recorded time more, thirty times a second. */
let due = 0;
const tick = (now) => {
  requestAnimationFrame(tick);
  if (now < due - 1) return;
  if (!following) {
    // Whoever has taken the slider sees that there is more.
    if (!opened || times.length === frames.length) return;
    due = now + 1000 / 30;
    upTo(frames.length);
    show(shown);
    return;
  }
  if (shown + 1 >= frames.length) {
    if (ended && shown + 1 === frames.length && frames.length) {
      state.textContent = ended;
      following = false;
    }
    return;
  }
  // A frame that came late does not delay those after it, unless much is missing.
  due = Math.max(due + 1000 / 30, now - 100);
  upTo(shown + 2);
  show(shown + 1);
};
requestAnimationFrame(tick);

scrubber.addEventListener("input", () => {
  // Whoever takes the slider sees all that has come so far.
  if (!frames.length) return;
  following = false;
  const taken = Number(scrubber.value);
  upTo(frames.length);
  show(Math.min(taken, frames.length - 1));
  if (ended) state.textContent = ended;
});

/** Forgets the run before. */
const begin = () => {
  abort?.abort();
  frames = [];
  times = [];
  arrays = {};
  shown = -1;
  following = true;
  ended = null;
  opened = false;
  outdate();
};

/** Says why nothing runs, and what the panels are of. */
const refuse = (why) => {
  state.textContent = panels.times.length ? `${why.replace(/[.\s]*$/, "")}. The dimmed charts are of another setting.` : why;
};

/** A run of what the controls say, if that can be one. */
const start = () => {
  clearTimeout(later);
  const wrong = fields.find((field) => !field.checkValidity());
  if (!wrong) return run();
  begin();
  refuse(`${wrong.dataset.label} = ${wrong.value || "nothing that is a number"}; allowed: ${wrong.dataset.allowed}`);
};

const run = async () => {
  begin();
  abort = new AbortController();
  const { signal } = abort;
  const asked = query();
  history.replaceState(null, "", `?${asked}`);
  $(".save", place).href = `experiment.toml?${asked}`;
  state.textContent = "Running.";
  try {
    const answer = await fetch(`run?${asked}`, { signal });
    if (answer.status === 503) {
      // Those before it are about to stop.
      state.textContent = "Waiting for the runs before to stop.";
      later = setTimeout(start, 300);
      return;
    }
    if (!answer.ok) {
      refuse(`Refused: ${(await answer.text()).trim()}`);
      return;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) take(JSON.parse(line));
    }
    if (!ended) state.textContent = "The run broke off, and does not say why. Run it again, or see what the program says in its terminal.";
  } catch (error) {
    if (!signal.aborted) state.textContent = `The program does not answer: ${error.message}. Start it again, and reload the page at its new address.`;
  }
};

const take = ({ words, frame, end, error, failed }) => {
  if (words) panels.words = words;
  if (frame) frames.push(frame);
  if (error) {
    ended = `Refused: ${error}`;
    refuse(ended);
  }
  if (failed) {
    ended = `The run failed: ${failed}`;
    state.textContent = ended;
  }
  if (end) {
    ended = `${end.finished ? "Done" : "Ended early"}: ${end.ending}, ${end.steps} steps, ${end.evaluations} gradients.${end.warnings.map((warning) => ` Note: ${warning}.`).join("")}`;
    if (!following || !frames.length) state.textContent = ended;
  }
};

let later = null;
const changed = () => {
  settle();
  notUnderstood.textContent = "";
  clearTimeout(later);
  // While a slider moves, not every place of it is a run.
  later = setTimeout(start, 120);
};
$(".again", place).addEventListener("click", start);
addEventListener("popstate", () => {
  fromAddress();
  start();
});
fromAddress();
start();
