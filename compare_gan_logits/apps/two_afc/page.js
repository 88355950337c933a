"use strict";
// The server does all the rest: without this script the page works by mouse and touch.
const form = document.querySelector("form.trial");
const pictures = Array.from(form.querySelectorAll("img"));
const size = Number(form.dataset.size);
// In CSS pixels. Pictures larger than LARGEST no longer fit one glance.
const LARGEST = 384;
const FRAME = 20;  // padding and border of a picture, left and right
const MARGINS = 48;  // above and below the heading and the pictures
let shown = null;
let sent = false;

// A whole number of screen pixels per picture pixel, so that nothing is smoothed.
function fit() {
  const ratio = window.devicePixelRatio || 1;
  const style = getComputedStyle(form);
  const columns = style.gridTemplateColumns.split(" ").length;
  const rows = columns === 2 ? 2 : 1;  // see style.css
  const gap = parseFloat(style.columnGap);
  const button = form.querySelector("button");
  const caption = button.offsetHeight - pictures[0].offsetHeight;
  const around = ["header", "footer", "h1"].reduce(
    (sum, name) => sum + document.querySelector(name).offsetHeight, MARGINS);
  const width = (form.offsetWidth - (columns - 1) * gap) / columns - FRAME;
  const height = (window.innerHeight - around - (rows - 1) * gap) / rows - caption;
  const zoom = Math.floor(Math.min(width, height, LARGEST) * ratio / size);
  const side = Math.min(Math.max(zoom, 1) * size / ratio, width);
  for (const picture of pictures) {
    picture.style.width = picture.style.height = `${side}px`;
  }
}

function choose(event) {
  if (sent || shown === null) {
    event.preventDefault();
    return;
  }
  sent = true;
  form.elements.milliseconds.value = Math.round(performance.now() - shown);
  event.submitter.classList.add("chosen");
}

function press(event) {
  if (event.repeat || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) {
    return;
  }
  const side = {ArrowLeft: "left", ArrowRight: "right"}[event.key];
  if (side) {
    event.preventDefault();
    form.querySelector(`button.${side}`).click();
  }
}

form.addEventListener("submit", choose);
document.addEventListener("keydown", press);
window.addEventListener("resize", fit);
// A page that comes back from the browser's memory may have been answered.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
fit();
Promise.all(pictures.map((picture) => picture.decode())).then(
  () => {
    shown = performance.now();
  },
  () => { document.getElementById("broken").hidden = false; });
