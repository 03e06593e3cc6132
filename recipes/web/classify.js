// The page: takes a picture, runs the artefact that artefact.json describes, shows the classes.

import { cover, readPicture, toInput } from "./pixels.js";
import { toProbabilities } from "./probabilities.js";
import { openArtefact } from "./runtimes.js";

const NUM_SHOWN = 5;

const page = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id, element]),
);

async function start() {
  const description = await fetchJSON("artefact.json");
  const run = await openArtefact(description);
  const [height, width] = description.image_size;
  const { input } = description;
  const batch = input.shape[0] ?? 1; // an artefact of a fixed batch is given the picture that often
  const classify = (one) => {
    const values = new one.constructor(batch * one.length);
    for (let place = 0; place < batch; place++) {
      values.set(one, place * one.length);
    }
    return run(values, [batch, height, width, input.shape[3]]);
  };
  const black = { width, height, data: new Uint8ClampedArray(4 * width * height) };
  await classify(toInput(black, input)); // the first call is slower and may still find fault
  page.model.textContent = `${description.name} — ${description.summary}`;
  page.licence.textContent = description.licence_text;
  page.file.disabled = false;

  let last = Promise.resolve(); // one picture after the other: a runtime is not reentrant
  const show = (file) => {
    last = last.then(() => showClasses(file, description, classify)).catch(showError);
  };
  page.file.addEventListener("change", () => {
    if (page.file.files.length > 0) {
      show(page.file.files[0]);
      page.file.value = ""; // the same file can be chosen again
    }
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    page.drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => page.drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    page.drop.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) {
      show(file);
    } else {
      showError(new Error("That was no file. Drop a picture's file."));
    }
  });
  document.body.dataset.state = "ready";
}

async function showClasses(file, description, classify) {
  document.body.dataset.state = "busy";
  page.error.hidden = true;
  page.status.textContent = `Classifying ${file.name}.`;
  const picture = await readPicture(file);
  const [height, width] = description.image_size;
  const covered = cover(picture, width, height);
  const values = toInput(covered, description.input);
  const started = performance.now();
  const outputs = await classify(values);
  const milliseconds = performance.now() - started;
  const batch = description.input.shape[0] ?? 1;
  const scores = outputs.subarray(0, outputs.length / batch);
  const probabilities = toProbabilities(scores, description.output);

  const best = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  page.classes.replaceChildren(
    ...best
      .slice(0, NUM_SHOWN)
      .map((index) => classItem(className(description, index), probabilities[index])),
  );
  const of = batch > 1 ? ` for the artefact's fixed batch of ${batch}` : "";
  page.latency.textContent = `The model took ${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms${of}.`;
  showPicture(file, picture);
  showInput(covered, description.input.shape[3]);
  page.result.hidden = false;
  const first = className(description, best[0]);
  page.status.textContent = `${file.name}: ${first}, ${percent(probabilities[best[0]])}.`;
  document.body.dataset.state = "ready";
}

function classItem(name, probability) {
  const item = document.createElement("li");
  item.dataset.probability = probability;
  const title = document.createElement("span");
  title.className = "name";
  title.textContent = name;
  const share = document.createElement("span");
  share.className = "share";
  share.textContent = percent(probability);
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  const filled = document.createElement("span");
  filled.style.width = percent(probability).replace(" ", "");
  bar.append(filled);
  item.append(title, share, bar);
  return item;
}

function showPicture(file, { width, height }) {
  URL.revokeObjectURL(page.picture.src);
  page.picture.src = URL.createObjectURL(file);
  page.picture.alt = `The picture ${file.name}`;
  page.picture.classList.toggle("small", Math.max(width, height) <= 128);
  page.caption.textContent = `${file.name}, ${width} x ${height} pixels`;
}

function showInput({ width, height, data }, channels) {
  page.input.width = width;
  page.input.height = height;
  const context = page.input.getContext("2d");
  context.filter = channels === 1 ? "grayscale(1)" : "none";
  page.input.style.filter = context.filter;
  context.putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  const grey = channels === 1 ? ", in grey" : "";
  page["seen-text"].textContent = `What the model is given: ${width} x ${height} pixels${grey}.`;
}

function showError(error) {
  console.error(error);
  page.error.textContent = error.message;
  page.error.hidden = false;
  page.result.hidden = true;
  page.status.textContent = "";
  document.body.dataset.state = "error";
}

function className({ class_names: names }, index) {
  return names === null ? `class ${index}` : names[index];
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

async function fetchJSON(name) {
  const answer = await fetch(name);
  if (!answer.ok) {
    throw new Error(`${name} is missing from this site (${answer.status}).`);
  }
  return answer.json();
}

start().catch((error) => {
  page.model.textContent = "The model could not be loaded.";
  showError(error);
});
