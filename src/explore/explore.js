// What moves on the page on which runs are tried out. It runs inside one function, after page/charts.js.

const form = $("#choices");
const place = $(".live-run");
const scrubber = $(".slider", place);
const state = $(".state", place);
const fields = $$("[name]", form);
const POSITIONS = 1000;

$$(".heat-map", place).forEach((element) => new HeatMap(element));
const panels = new Panels(place, {});

// ---- the setting ----

/** A slider and its field: positions are equal differences, or equal ratios. */
for (const field of fields.filter((field) => field.type === "number")) {
  const slider = $("input[type=range]", field.parentElement);
  const [low, high, log] = [Number(field.min), Number(field.max), slider.dataset.log === "true"];
  const value = (position) => (log ? low * (high / low) ** (position / POSITIONS) : low + ((high - low) * position) / POSITIONS);
  const position = (value) => POSITIONS * (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
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

/** All that matters, as it stands in the address. */
const query = () => new URLSearchParams(fields.filter((field) => !field.disabled).map((field) => [field.name, field.value])).toString();

const fromAddress = () => {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = fields.find((field) => field.name === name);
    if (field) field.value = value;
  }
  fields.forEach((field) => field.follow?.());
  settle();
};

// ---- the run ----

let frames = [];
let arrays = {};
let shown = -1;
let following = true;
let abort = null;
/** How the run ended, once it has. */
let ended = null;
/** Whether the panels know of this run. */
let opened = false;

const show = (frame) => {
  shown = frame;
  scrubber.value = String(frame);
  const time = panels.times[frame];
  $(".now", place).textContent = `t = ${short(time)}`;
  scrubber.setAttribute("aria-valuetext", `t = ${short(time)}`);
  panels.show(frame);
};

/** What the panels see of the frames up to this one. */
const upTo = (count) => {
  for (; panels.times.length < count; ) {
    const { time, arrays: rows } = frames[panels.times.length];
    panels.times.push(time);
    for (const [name, [shape, row]] of Object.entries(rows)) {
      arrays[name] ??= [shape, [], row.length];
      for (const value of row) arrays[name][1].push(value ?? NaN);
    }
  }
  scrubber.max = String(panels.times.length - 1);
  if (!opened) panels.open(panels.times, arrays);
  else panels.fit();
  opened = true;
};

/** One recorded time more, thirty times a second. */
let due = 0;
const tick = (now) => {
  requestAnimationFrame(tick);
  if (now < due - 1 || !following) return;
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

const start = async () => {
  abort?.abort();
  abort = new AbortController();
  const { signal } = abort;
  const asked = query();
  history.replaceState(null, "", `?${asked}`);
  $(".save", place).href = `experiment.toml?${asked}`;
  frames = [];
  arrays = {};
  panels.times = [];
  shown = -1;
  following = true;
  ended = null;
  opened = false;
  scrubber.max = "0";
  state.textContent = "Running.";
  try {
    const answer = await fetch(`run?${asked}`, { signal });
    if (answer.status === 503) {
      // Those before it are about to stop.
      later = setTimeout(start, 300);
      return;
    }
    if (!answer.ok) {
      state.textContent = `Refused: ${(await answer.text()).trim()}`;
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
    if (!ended) state.textContent = "The run was stopped: another one has begun, or the program has ended.";
  } catch (error) {
    if (!signal.aborted) state.textContent = `The program does not answer: ${error.message}. Start it again, and reload the page at its new address.`;
  }
};

const take = ({ words, frame, end, error }) => {
  if (words) panels.words = words;
  if (frame) frames.push(frame);
  if (error) {
    ended = error;
    state.textContent = `Refused: ${error}`;
  }
  if (end) {
    ended = `${end.finished ? "Done" : "Ended early"}: ${end.ending}, ${end.steps} steps, ${end.evaluations} gradients. ${end.warnings.join(" ")}`;
    if (!following) state.textContent = ended;
  }
};

let later = null;
const changed = () => {
  settle();
  clearTimeout(later);
  // While a slider moves, not every place of it is a run.
  later = setTimeout(() => {
    if (form.checkValidity()) start();
    else {
      abort?.abort();
      following = false;
      const wrong = fields.find((field) => !field.checkValidity());
      state.textContent = `${wrong.name} = ${wrong.value || "nothing"}; allowed: numbers from ${wrong.min} to ${wrong.max}`;
    }
  }, 120);
};
$(".again", place).addEventListener("click", start);
addEventListener("popstate", () => {
  fromAddress();
  start();
});
fromAddress();
start();
