"use strict";

const element = (id) => document.getElementById(id);
const view = element("view");
const shown = element("shown");
let state = {};
let image = null;
let isBusy = false;
let start = null;

async function ask(address, body) {
  const response = await fetch(address, { method: "POST", body });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// One request at a time: what is shown belongs to the last answer.
async function run(text, request) {
  if (isBusy) return;
  isBusy = true;
  say(text);
  document.body.classList.add("busy");
  try {
    show(await request());
  } catch (error) {
    say(error.message, true);
  } finally {
    isBusy = false;
    document.body.classList.remove("busy");
  }
}

function say(text, isError = false) {
  element("status").textContent = text;
  element("status").classList.toggle("error", isError);
}

function open(file) {
  if (!file) return;
  const address = `api/images?name=${encodeURIComponent(file.name)}`;
  run(`Opening ${file.name} ...`, () => ask(address, file));
}

function show(answer) {
  image = answer;
  const base = `api/images/${answer.id}`;
  shown.src = `${base}/shown.jpg?${Date.now()}`;
  element("drop").hidden = true;
  view.hidden = false;
  view.style.width = `min(100%, ${(84 * answer.width) / answer.height}vh)`;
  element("overlay").href = `${base}/overlay.png`;
  element("json").href = `${base}/predictions.json`;
  const rows = answer.objects.map((object, number) => {
    const row = document.createElement("tr");
    const hidden = object.occlusion_ratio;
    const cells = [
      number,
      object.detection_score.toFixed(2),
      object.predicted_iou.toFixed(2),
      hidden === null ? "-" : `${Math.round(100 * hidden)} %`,
    ];
    for (const text of cells) row.insertCell().textContent = text;
    return row;
  });
  element("objects").replaceChildren(...rows);
  const time = answer.time_ms ? `, ${answer.time_ms} ms` : "";
  say(`${answer.name}: ${answer.width} x ${answer.height} pixels, ${rows.length} objects${time}`);
}

function send(action, body = {}) {
  if (!image) return;
  run("Working ...", () => ask(`api/images/${image.id}/${action}`, JSON.stringify(body)));
}

// Pixels of the image from a place on the screen.
function place(event) {
  const frame = shown.getBoundingClientRect();
  const clamp = (value) => Math.min(Math.max(value, 0), 1);
  return [
    clamp((event.clientX - frame.left) / frame.width) * image.width,
    clamp((event.clientY - frame.top) / frame.height) * image.height,
  ];
}

function drawRubber(from, to) {
  const frame = shown.getBoundingClientRect();
  const scale = [frame.width / image.width, frame.height / image.height];
  const style = element("rubber").style;
  style.left = `${Math.min(from[0], to[0]) * scale[0]}px`;
  style.top = `${Math.min(from[1], to[1]) * scale[1]}px`;
  style.width = `${Math.abs(from[0] - to[0]) * scale[0]}px`;
  style.height = `${Math.abs(from[1] - to[1]) * scale[1]}px`;
  element("rubber").hidden = false;
}

view.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  view.setPointerCapture(event.pointerId);
  start = { screen: [event.clientX, event.clientY], place: place(event) };
});
view.addEventListener("pointermove", (event) => {
  if (start) drawRubber(start.place, place(event));
});
view.addEventListener("pointercancel", () => {
  start = null;
  element("rubber").hidden = true;
});
view.addEventListener("pointerup", (event) => {
  if (!start) return;
  const [from, to] = [start.place, place(event)];
  const moved = Math.hypot(event.clientX - start.screen[0], event.clientY - start.screen[1]);
  start = null;
  element("rubber").hidden = true;
  if (moved < 5) {
    const inside = [Math.min(from[0], image.width - 0.5), Math.min(from[1], image.height - 0.5)];
    send("click", { point: inside });
  } else {
    const low = [Math.min(from[0], to[0]), Math.min(from[1], to[1])];
    const high = [Math.max(from[0], to[0]), Math.max(from[1], to[1])];
    send("box", { box: [...low, ...high] });
  }
});

element("file").addEventListener("change", (event) => open(event.target.files[0]));
element("find").addEventListener("click", () => send("find"));
element("clear").addEventListener("click", () => send("clear"));
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
document.addEventListener("drop", (event) => open(event.dataTransfer.files[0]));

async function begin() {
  state = await (await fetch("api/state")).json();
  element("model").textContent = `${state.model} on ${state.backend}`;
  element("find").hidden = !state.has_detector;
  element("hint").textContent = state.has_detector
    ? "Everything that is found is drawn. Drag a box, or click, to add an object."
    : "Drag a box around the visible part of an object, or click on it.";
  const buttons = state.samples.map((name) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () =>
      run(`Opening ${name} ...`, () => ask(`api/samples/${encodeURIComponent(name)}`, "")),
    );
    return button;
  });
  element("samples").replaceChildren(...buttons);
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (state.samples.includes(wanted)) buttons[state.samples.indexOf(wanted)].click();
}

begin();
