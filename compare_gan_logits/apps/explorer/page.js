"use strict";
// The view is all the state there is: the page sends it whole, the server answers with
// pictures. One request is under way at a time; of those that wait, only the newest is
// ever sent.
const config = JSON.parse(document.getElementById("config").textContent);
const byName = Object.fromEntries(config.controls.map((c) => [c.name, c]));
// With more classes, only the largest and the chosen ones have rows, and names are typed.
const MANY = 12;
const ROWS = 8;
const KEEP_UP_TO = 20;
const many = config.classes.length > MANY;
const LARGEST_TILE = 192;  // CSS pixels
const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

let view = config.view;
let slot = "photo";
let busy = false;
let waiting = false;
let last = null;  // the latest answer
let lastPhoto = null;  // that it was made from
const rows = new Map();  // class name -> its row
let rowsOf = null;  // the photo whose largest logits have rows, where classes are many

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const png = (data) => `data:image/png;base64,${data}`;
const percent = (x) => `${Math.round(100 * x)} %`;
// What a classifier says of its first class. A single logit's confidence is always 1.
const said = (opinion) => opinion.logit === null
  ? percent(opinion.confidence) : `logit ${opinion.logit.toPrecision(3)}`;

function write(control, value) {
  switch (control.shown) {
    case "factor": return `×${value.toFixed(2)}`;
    case "power": return `×${(10 ** value).toFixed(2)}`;
    case "signed": return signed(value, 2);
    case "degrees": return `${value}°`;
    case "percent": return percent(value);
    default: return String(value);
  }
}

function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "" : value > 0 ? "+" : "−") + text;
}

// Messages ----------------------------------------------------------------------

function say(text, kind = "error") {
  const message = $("#message");
  $("p", message).textContent = text;
  message.className = kind;
  message.hidden = !text;
}

// Resolves to the response, or to null after having said what is wrong (of the file
// called `name`, where one was sent).
async function post(path, body, name = "the file") {
  let response;
  try {
    response = await fetch(config.root + path, {method: "POST", body});
  } catch {
    say("The server does not answer. Is the explorer still running?");
    return null;
  }
  if (response.ok) return response;
  let error = `The server answered ${response.status}.`;
  try {
    error = (await response.json()).error || error;
  } catch {
    // The status is all there is to say.
  }
  say(error.replace(/^the file/, () => name));
  return null;
}

// The view and its pictures -----------------------------------------------------

function change(fields) {
  view = {...view, ...fields};
  sync();
  show();
}

async function show() {
  waiting = true;
  if (busy) return;
  busy = true;
  $("#stage").setAttribute("aria-busy", "true");
  while (waiting) {
    waiting = false;
    const start = performance.now();
    const asked = view;
    const response = await post("show", JSON.stringify({...asked}));
    const answer = response && response.status === 200 ? await response.json() : null;
    if (answer) {
      draw(answer.modules, asked.photo);
      $("#time").textContent = `${Math.round(performance.now() - start)} ms`;
      if ($("#message").className !== "note") say("");
    }
  }
  busy = false;
  $("#stage").setAttribute("aria-busy", "false");
}

function draw(modules, photo) {
  last = modules;
  lastPhoto = photo;
  for (const module of modules) {
    const article = $(`#stage [data-module="${CSS.escape(module.name)}"]`);
    const tiles = $(".tiles", article);
    const wanted = module.pictures.length + 1;
    while (tiles.children.length > wanted) tiles.lastChild.remove();
    while (tiles.children.length < wanted) {
      tiles.append(make("figure", {}, make("img", {draggable: false}),
        make("figcaption", {}, make("span"), make("span"))));
    }
    fill(tiles.children[0], module.seen, module.seen_class, null,
      `What ${module.name} sees`);
    tiles.children[0].className = "seen";
    module.pictures.forEach((picture, k) => fill(tiles.children[k + 1], picture.image,
      picture, picture.kept, `Reconstruction ${k + 1} by ${module.name}`));
    $(".unknown", article).textContent = module.unknown.length
      ? `has no class ${module.unknown.join(", ")}` : "";
    opine(module);
  }
  refreshRows();
  fit();
}

function fill(figure, image, opinion, kept, what) {
  const [name, confidence] = all("figcaption span", figure);
  const mark = kept === null ? "" : kept ? "✓ " : "✗ ";
  name.textContent = opinion.name;
  confidence.textContent = mark + said(opinion);
  figure.classList.toggle("kept", kept === true);
  figure.classList.toggle("lost", kept === false);
  const picture = $("img", figure);
  picture.src = png(image);
  picture.alt = `${what}, which its classifier calls ${opinion.name} `
    + `(${said(opinion)})`;
  figure.title = picture.alt;
}

function opine(module) {
  const article = $(`#opinions [data-module="${CSS.escape(module.name)}"]`);
  const list = $("ol", article);
  $("small", article).textContent =
    `standard deviation of the photo's logits ${module.deviation.toPrecision(2)}`;
  while (list.children.length > module.top.length) list.lastChild.remove();
  while (list.children.length < module.top.length) {
    list.append(make("li", {}, make("span", {className: "name"}),
      make("span", {className: "bar"}, make("i"), make("b")),
      make("span", {className: "number"})));
  }
  module.top.forEach((entry, i) => {
    const item = list.children[i];
    $(".name", item).textContent = entry.name;
    $(".name", item).title = entry.name;
    $("i", item).style.width = entry.logit === null ? `${100 * entry.confidence}%` : 0;
    const moved = Math.abs(entry.before - entry.confidence) > 0.005;
    $("b", item).hidden = !moved;
    $("b", item).style.left = `${100 * entry.before}%`;
    $(".number", item).textContent = said(entry);
    item.title = moved ? `${percent(entry.before)} before the logits were changed` : "";
  });
}

// A whole number of screen pixels per picture pixel, where they are large enough.
function fit() {
  const ratio = window.devicePixelRatio || 1;
  const stage = $("#stage");
  for (const module of last || []) {
    const size = config.modules.find((m) => m.name === module.name).size;
    const tiles = $(`[data-module="${CSS.escape(module.name)}"] .tiles`, stage);
    const gap = parseFloat(getComputedStyle(tiles).columnGap) || 0;
    const [least, most] = window.innerWidth < 640 ? [56, 88] : [96, 128];
    const count = module.pictures.length + 1;
    const fitting = Math.max(2, Math.floor((tiles.clientWidth + gap) / (least + gap)));
    const lines = Math.ceil(count / fitting);
    const columns = Math.ceil(count / lines);
    tiles.style.setProperty("--columns", columns);
    const width = Math.min((tiles.clientWidth + gap) / columns - gap,
      lines > 1 ? most : LARGEST_TILE);
    const zoom = Math.floor(width * ratio / size);
    tiles.style.setProperty("--tile", `${zoom >= 1 ? zoom * size / ratio : width}px`);
  }
}

// Controls ----------------------------------------------------------------------

// Writes the view into all controls.
function sync() {
  for (const control of config.controls) {
    const input = document.getElementById(control.name);
    if (document.activeElement !== input || Number(input.value) !== view[control.name]) {
      input.value = view[control.name];
    }
    const box = input.closest(".control");
    if (control.finding) $("output", box).textContent = write(control, view[control.name]);
    box.classList.toggle("changed", isChanged(box));
    $(".reset", box).hidden = !isChanged(box);
  }
  for (const button of all(".slot")) {
    const data = view[button.dataset.slot];
    const picture = $("img", button);
    if (data && picture.src !== png(data)) picture.src = png(data);
    picture.hidden = !data;
    button.setAttribute("aria-pressed", String(button.dataset.slot === slot));
  }
  for (const example of all("#examples button")) {
    example.setAttribute("aria-pressed", String(example.photo === view[slot]));
  }
  syncClasses();
}

function isChanged(box) {
  return all("input", box).some((input) => view[input.id] !== byName[input.id].neutral);
}

function resetView() {
  const fields = {raised: [], keep: null, swapped: []};
  for (const control of config.controls) fields[control.name] = control.neutral;
  return fields;
}

// Single classes ----------------------------------------------------------------

function option(value, text) {
  return make("option", {value, textContent: text});
}

function syncClasses() {
  const keep = $("#keep");
  if (view.keep !== null && !all("option", keep).some((o) => o.value === String(view.keep))) {
    keep.append(option(view.keep, `the top ${view.keep}`));
  }
  keep.value = view.keep === null ? "" : String(view.keep);
  [0, 1].forEach((i) => {
    const select = $(`#swap${i}`);
    if (view.swapped.length) select.value = view.swapped[i];
    else if (select.value && !$("#swap0").pending) select.value = "";
  });
  for (const [name] of view.raised) addRow(name);
  for (const [name, row] of rows) {
    const pair = view.raised.find(([raised]) => raised === name);
    const amount = pair ? pair[1] : 0;
    const input = $("input", row);
    if (Number(input.value) !== amount) input.value = amount;
    $("output", row).textContent = amount ? signed(amount, 1) : "";
    row.classList.toggle("changed", amount !== 0);
    $(".reset", row).hidden = amount === 0;
  }
}

function raise(name, amount) {
  const others = view.raised.filter(([raised]) => raised !== name);
  change({raised: amount ? [...others, [name, amount]] : others});
}

function addRow(name) {
  if (rows.has(name)) return rows.get(name);
  const id = `class-${config.classes.indexOf(name)}`;
  const input = make("input", {type: "range", id, min: -config.max_raise,
    max: config.max_raise, step: 0.2, value: 0});
  input.addEventListener("input", () => raise(name, Number(input.value)));
  const reset = make("button", {type: "button", className: "reset", textContent: "↺",
    title: "Reset", hidden: true, "aria-label": `Reset ${name}`});
  reset.addEventListener("click", () => {
    raise(name, 0);
    input.focus();
  });
  const row = make("div", {className: "row"},
    make("label", {htmlFor: id, textContent: name, title: name}),
    input, make("output", {htmlFor: id}), reset, make("span", {className: "value"}));
  rows.set(name, row);
  $("#rows").append(row);
  return row;
}

// The classes with the largest logits, of each module in turn.
function largest(count) {
  const orders = last.map((module) => Object.entries(module.logits)
    .sort((a, b) => b[1] - a[1]).map(([name]) => name));
  const found = new Set();
  for (let rank = 0; found.size < count && orders.some((o) => rank < o.length); rank++) {
    for (const order of orders) {
      if (rank < order.length && found.size < count) found.add(order[rank]);
    }
  }
  return found;
}

// A new photo brings its own rows; those that were chosen, edited or are in use stay.
function refreshLargest() {
  if (!many || !last.length || rowsOf === lastPhoto) return;
  rowsOf = lastPhoto;
  for (const [name, row] of rows) {
    if (!row.chosen && Number($("input", row).value) === 0
        && !row.contains(document.activeElement)) {
      rows.delete(name);
      row.remove();
    }
  }
  for (const name of largest(ROWS)) addRow(name);
  syncClasses();
}

// The logits that the generators are given, beside the names.
function refreshRows() {
  refreshLargest();
  for (const [name, row] of rows) {
    $(".value", row).replaceChildren(...last.map((module) => make("span", {
      textContent: name in module.logits ? signed(module.logits[name], 1) : "–"})));
  }
}

// The class that is meant by what was typed: its name, or else the first that begins
// with it, or else the first that has it inside.
function classNamed(text) {
  const fold = (name) => name.toLowerCase().replaceAll("_", " ");
  const wanted = fold(text.trim());
  if (!wanted) return null;
  if (config.classes.includes(text)) return text;
  return config.classes.find((name) => fold(name) === wanted)
    || config.classes.find((name) => fold(name).startsWith(wanted))
    || config.classes.find((name) => fold(name).includes(wanted)) || null;
}

// Puts a list of all classes, or with many a field to type in, into a label.
function addPicker(label, id, pick) {
  const field = many
    ? make("input", {type: "text", id, placeholder: "type a name", autocomplete: "off",
      spellcheck: false})
    : make("select", {id}, option("", "–"),
      ...config.classes.map((name) => option(name, name)));
  if (many) field.setAttribute("list", "class-names");
  const commit = () => {
    const name = classNamed(field.value);
    if (!name && field.value.trim()) say(`No class is called “${field.value.trim()}”.`);
    else if ($("#message").className !== "note") say("");
    field.value = name || "";
    pick(name || "", field);
  };
  // What is typed counts when it is done; what is picked from a list, at once.
  field.addEventListener("input", (event) => {
    if (!many || !event.inputType || event.inputType === "insertReplacementText") commit();
  });
  if (many) field.addEventListener("change", commit);
  label.append(field);
}

function pickSwap() {
  const pair = [$("#swap0").value, $("#swap1").value];
  const whole = pair[0] && pair[1];
  $("#swap0").pending = !whole;
  const swapped = whole ? pair : [];
  if (swapped.join("\n") !== view.swapped.join("\n")) change({swapped});
}

function pickAnother(name, field) {
  if (!name) return;
  const row = addRow(name);
  row.chosen = true;
  field.value = "";
  refreshRows();
  $("input", row).focus();
}

// Photos ------------------------------------------------------------------------

function take(data) {
  change({[slot]: data});
}

async function upload(file) {
  if (!file) return;
  if (file.name && /\.json$/i.test(file.name)) {
    openView(file);
    return;
  }
  if (file.size > config.max_upload) {
    say(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB, more than `
      + `${config.max_upload / 2 ** 20}; make it smaller first.`);
    return;
  }
  const goesTo = slot;
  $("#photos").classList.add("loading");
  const response = await post("photo", file, file.name || "the file");
  $("#photos").classList.remove("loading");
  if (!response) return;
  const {photo} = await response.json();
  say("");
  change({[goesTo]: photo});
}

async function openView(file) {
  if (!file) return;
  const response = await post("open", file);
  if (!response) return;
  const answer = await response.json();
  view = answer.view;
  say(answer.note, "note");
  sync();
  show();
}

async function save(kind) {
  const response = await post(`save/${kind}`, JSON.stringify(view));
  if (!response) return;
  const link = make("a", {href: URL.createObjectURL(await response.blob()),
    download: `view.${kind}`});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Set-up ------------------------------------------------------------------------

function build() {
  for (const module of config.modules) {
    const facts = [`${module.size} px`, `${module.classes} logits`];
    if (module.step) facts.push(`step ${module.step}`);
    $("#stage").append(make("article", {"data-module": module.name},
      make("h2", {}, module.name, make("small", {textContent: facts.join(" · ")}),
        make("small", {className: "unknown"})),
      make("div", {className: "tiles"})));
    $("#opinions").append(make("article", {"data-module": module.name},
      make("h2", {}, module.name, make("small")),
      make("ol")));
  }
  for (const [name, problem] of Object.entries(config.problems)) {
    $("#stage").append(make("article", {className: "problem"},
      make("h2", {textContent: name}), make("p", {textContent: problem})));
  }
  config.examples.forEach((example) => {
    const button = make("button", {type: "button", title: example.name,
      "aria-label": `Test image: ${example.name}`},
      make("img", {src: png(example.photo), alt: ""}));
    button.photo = example.photo;
    button.addEventListener("click", () => take(example.photo));
    $("#examples").append(button);
  });
  $("#keep").append(option("", "– (keep all)"));
  const count = Math.max(0, ...config.modules.map((m) => m.classes));
  for (let k = 1; k < Math.min(count, KEEP_UP_TO); k++) {
    $("#keep").append(option(k, `the top ${k}`));
  }
  for (const k of [20, 50, 100, 200, 500]) {
    if (k < count) $("#keep").append(option(k, `the top ${k}`));
  }
  addPicker($("#first"), "swap0", pickSwap);
  addPicker($("#with"), "swap1", pickSwap);
  addPicker($("#another"), "other", pickAnother);
  if (many) $("#class-names").append(...config.classes.map((name) => option(name, name)));
  $("#rows").style.setProperty("--modules", config.modules.length);
  $("#rows .head .value").append(...config.modules.map(
    (m) => make("span", {textContent: m.name, title: `${m.name}: logit given to the generator`})));
  $("#another").hidden = !many;
  document.body.classList.toggle("many", many);
  if (!many) config.classes.forEach(addRow);
}

function listen() {
  for (const control of config.controls) {
    const input = document.getElementById(control.name);
    input.addEventListener("input", () => {
      const value = Number(input.value);
      if (input.value !== "" && input.validity.valid) change({[control.name]: value});
    });
  }
  for (const box of all(".control")) {
    $(".reset", box).addEventListener("click", () => {
      change(Object.fromEntries(all("input", box).map(
        (input) => [input.id, byName[input.id].neutral])));
      $("input[type=range]", box).focus();
    });
  }
  $("#reset").addEventListener("click", () => {
    $("#swap0").pending = false;
    change(resetView());
  });
  $("#keep").addEventListener("input", (event) => change(
    {keep: event.target.value ? Number(event.target.value) : null}));
  for (const button of all(".slot")) {
    button.addEventListener("click", () => {
      slot = button.dataset.slot;
      sync();
    });
  }
  for (const [selector, use] of [["#file", upload], ["#open", openView]]) {
    $(selector).addEventListener("change", (event) => {
      use(event.target.files[0]);
      event.target.value = "";
    });
  }
  for (const button of all("[data-save]")) {
    button.addEventListener("click", () => save(button.dataset.save));
  }
  $("#message button").addEventListener("click", () => say(""));
  $("#controls").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("paste", (event) => {
    const file = Array.from(event.clipboardData.files)[0];
    if (file) {
      event.preventDefault();
      upload(file);
    }
  });
  let inside = 0;  // dragenter and dragleave come for every element on the way
  document.addEventListener("dragenter", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    inside += 1;
    $("#drop").hidden = false;
  });
  document.addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    $("#drop").hidden = inside === 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    $("#drop").hidden = true;
    upload(event.dataTransfer.files[0]);
  });
  window.addEventListener("resize", fit);
}

build();
listen();
sync();
show();
