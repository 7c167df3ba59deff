// A participant before a study: watches two figures, answers, goes on. What is answered is sent
// at once, and what was sent is there again when the page is opened again.

import { makeStage } from "./assets/avatar.js";
import { unpackTurns } from "./assets/turns.js";

const SIDES = ["left", "right"];
const LABELS = { left: "Left", same: "No difference", right: "Right" };
const find = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("p") ?? "";

let session = null;
let stages = {};
let place = 0;
let pair = null; // as the server has it, with what this page knows of it
let playing = null; // {sides, began}
let asking = new AbortController();
let sending = Promise.resolve(); // answers, one after the other
const unsent = new Map(); // place of a pair → what of it is on its way

async function ask(path, options = {}, again = 4) {
  const headers = { authorization: `Bearer ${token}`, ...options.headers };
  const response = await fetch(`api/${path}`, { ...options, headers }).catch((error) => {
    if (error.name === "AbortError" || !again) throw error;
    return null;
  });
  if (response?.ok) return response;
  if (again && (!response || response.status >= 500)) {
    // The server is away for a moment: nothing that was chosen is given up.
    await new Promise((done) => setTimeout(done, 500 * 2 ** (4 - again)));
    return ask(path, options, again - 1);
  }
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? response.statusText);
}

const json = async (path, options) => (await ask(path, options)).json();

async function begin() {
  session = await json("session");
  document.title = session.title;
  find("title").textContent = session.title;
  find("intro-text").textContent = session.intro;
  find("questions").replaceChildren(...Object.entries(session.questions).map(question));
  progress();
  if (session.thanks !== null) return show("thanks");
  show(session.begun ? "pair" : "intro");
  if (session.begun) await goOn();
}

function show(name) {
  for (const id of ["intro", "pair", "thanks"]) find(id).hidden = id !== name;
  find("keys").hidden = name !== "pair";
  find("thanks-text").textContent = session.thanks ?? "";
  if (name === "intro") find("start").focus();
}

/** To the first pair that is not answered. */
async function goOn() {
  await open(session.done.indexOf(false));
}

async function open(number) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  stop();
  place = number;
  pair = null;
  ready();
  show("pair");
  for (const side of SIDES) {
    stages[side] ??= await makeStage(find(side), session.skeleton);
    stages[side].show(null);
  }
  const path = `pairs/${place}`;
  const [found, ...motions] = await Promise.all([
    json(path, { signal }),
    ...SIDES.map(async (side) => (await ask(`${path}/${side}`, { signal })).arrayBuffer()),
  ]);
  const sound = found.has_audio ? await (await ask(`${path}/audio`, { signal })).blob() : null;
  if (signal.aborted) return;
  SIDES.forEach((side, i) => stages[side].show(unpackTurns(motions[i])));
  // Who has answered has watched.
  const watched = new Set(Object.keys(found.choices).length ? SIDES : []);
  pair = { ...found, watched, opened: performance.now() };
  pair.sound = sound && new Audio(URL.createObjectURL(sound));
  words();
  ready();
  find("back").disabled = place === 0;
  scrollTo(0, 0);
  find("pair").focus({ preventScroll: true }); // no button: keys are for the pair
}

function words() {
  const said = pair.words.length ? pair.words : [{ word: pair.text, start_s: null }];
  pair.spans = said.map((word) => ({ ...word, span: document.createElement("span") }));
  pair.spans.forEach(({ span, word }) => { span.textContent = word; });
  find("said").replaceChildren(...pair.spans.flatMap(({ span }) => [span, " "]));
  find("message").hidden = true;
}

function question([name, text]) {
  const set = document.createElement("fieldset");
  set.dataset.question = name;
  const legend = document.createElement("legend");
  legend.textContent = text;
  const choices = document.createElement("div");
  choices.className = "choices";
  for (const choice of session.ties ? ["left", "same", "right"] : SIDES) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name, value: choice });
    input.addEventListener("change", () => choose(name, choice));
    label.append(input, LABELS[choice]);
    choices.append(label);
  }
  set.append(legend, choices);
  return set;
}

/** Sends a choice, after those before it; it is marked at once, unless it cannot be sent. */
function choose(name, choice) {
  const [at, of] = [place, pair];
  of.choices[name] = choice;
  ready();
  const seconds = Math.round((performance.now() - of.opened) / 100) / 10;
  const body = JSON.stringify({ choices: { [name]: choice }, seconds });
  const waiting = { choices: { ...unsent.get(at)?.choices, [name]: choice }, seconds };
  unsent.set(at, waiting);
  const arrived = () => unsent.get(at) === waiting && unsent.delete(at);
  sending = sending.then(() => json(`pairs/${at}`, { method: "PUT", body })).then(
    (answer) => {
      arrived();
      session.done[at] = answer.done;
      session.thanks = answer.thanks;
      say(null);
      progress();
      ready();
    },
    (error) => {
      arrived();
      delete of.choices[name];
      say(error);
      ready();
    },
  );
}

/** Whoever leaves has answered: what is still on its way goes on without the page. */
addEventListener("pagehide", () => {
  for (const [at, waiting] of unsent) {
    const headers = { authorization: `Bearer ${token}` };
    const body = JSON.stringify(waiting);
    fetch(`api/pairs/${at}`, { method: "PUT", keepalive: true, headers, body });
  }
});

function ready() {
  const watched = pair?.watched.size === 2;
  for (const set of find("questions").children) {
    set.disabled = !watched;
    const chosen = pair?.choices[set.dataset.question];
    for (const input of set.querySelectorAll("input")) input.checked = input.value === chosen;
  }
  for (const side of SIDES) {
    find(side).closest("figure").classList.toggle("watched", Boolean(pair?.watched.has(side)));
  }
  for (const button of [find("both"), ...document.querySelectorAll("[data-play]")]) {
    button.disabled = !pair;
  }
  find("next").disabled = !pair || !session.done[place];
  find("next").textContent = session.done.every(Boolean) ? "Finish" : "Next";
  find("hint").textContent = watched ? "" : "Watch both to their end; then you can answer.";
}

function progress() {
  const done = session.done.filter(Boolean).length;
  find("where").textContent = `${done} of ${session.done.length} answered`;
  const bar = find("bar");
  bar.setAttribute("aria-valuenow", done);
  bar.setAttribute("aria-valuemax", session.done.length);
  bar.firstElementChild.style.width = `${(100 * done) / session.done.length}%`;
}

async function play(sides) {
  if (!pair) return;
  const again = playing && playing.sides.length === sides.length && playing.sides[0] === sides[0];
  stop();
  if (again) return;
  playing = { sides, began: performance.now() };
  for (const side of sides) find(side).parentElement.classList.add("playing");
  if (pair.sound) {
    pair.sound.currentTime = 0;
    // Where nothing can be heard, the figures move all the same.
    await pair.sound.play().catch((error) => find("hint").append(` No sound: ${error.message}`));
  }
}

function stop() {
  playing = null;
  pair?.sound?.pause();
  for (const side of SIDES) find(side).parentElement.classList.remove("playing");
}

function tick(now) {
  requestAnimationFrame(tick);
  if (!playing || !pair) return;
  const heard = pair.sound && !pair.sound.paused && pair.sound.currentTime;
  const at = heard || (now - playing.began) / 1000;
  const lengths = playing.sides.map((side) => pair.seconds[SIDES.indexOf(side)]);
  playing.sides.forEach((side, i) => {
    const { frames, fps } = stages[side].motion;
    stages[side].draw(Math.min(frames - 1, at * fps));
    if (at >= lengths[i]) pair.watched.add(side);
  });
  for (const { span, start_s, end_s } of pair.spans) {
    span.classList.toggle("now", start_s !== null && start_s <= at && at < end_s);
  }
  if (pair.message && at >= pair.message.at_s && find("message").hidden) {
    find("message").textContent = pair.message.text;
    find("message").hidden = false;
  }
  if (at >= Math.max(...lengths)) {
    stop();
    ready();
  }
}

/** Answers the first question that is open, or the one that has the focus. */
function answer(choice) {
  const sets = [...find("questions").children];
  const focused = sets.find((set) => set.contains(document.activeElement));
  const set = focused ?? sets.find((one) => !pair.choices[one.dataset.question]);
  if (!set || set.disabled || focused) return; // a focused radio group moves by itself
  choose(set.dataset.question, choice);
}

const KEYS = {
  1: () => play(["left"]),
  2: () => play(["right"]),
  " ": () => play(SIDES),
  ArrowLeft: () => answer("left"),
  ArrowRight: () => answer("right"),
  ArrowDown: () => session.ties && answer("same"),
  Enter: () => !find("next").disabled && find("form").requestSubmit(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !pair || find("pair").hidden) return;
  const action = KEYS[event.key];
  const pressed = ["Enter", " "].includes(event.key) && event.target.closest?.("button");
  const radio = event.key.startsWith("Arrow") && event.target.closest?.("fieldset");
  if (!action || pressed || radio) return;
  event.preventDefault();
  action();
});

function say(error) {
  find("trouble").hidden = !error;
  if (error) find("trouble").textContent = error.message;
}

find("start").addEventListener("click", () => goOn().catch(say));
find("both").addEventListener("click", () => play(SIDES));
find("back").addEventListener("click", () => open(place - 1).catch(say));
for (const button of document.querySelectorAll("[data-play]")) {
  button.addEventListener("click", () => play([button.dataset.play]));
}
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!session.done[place]) return;
  if (session.thanks !== null) {
    stop();
    show("thanks");
  } else {
    goOn().catch(say);
  }
});
requestAnimationFrame(tick);
begin().catch(say);
