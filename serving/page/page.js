// The page: words in, gestures out, of one method or of two side by side.

import { Gestray, Refused, keyOfPage } from "./api.js";
import { Card } from "./card.js";

const EXAMPLES = [
  "I have no idea", "a huge amount", "on the one hand", "please stop", "round and round again",
  "just a tiny bit", "you and me", "all the way up",
];
const PAUSE_MS = 250; // of typing, before the words are looked up

const find = (id) => document.getElementById(id);
const api = new Gestray(keyOfPage());
const [text, found, trouble, model, other] = ["text", "found", "trouble", "model", "other"].map(find);
let cards = [];
let asking = new AbortController();
let skeleton = null;

async function start() {
  const [models, bones] = await Promise.all([
    api.models(),
    api.skeleton(),
  ]);
  skeleton = bones;
  const named = (about) => new Option(about.name, about.name, about.default, about.default);
  model.replaceChildren(...models.map(named));
  other.replaceChildren(new Option("none", ""), ...models.map((about) => new Option(about.name)));
  find("against").hidden = models.length < 2;
  const chosen = models.find((about) => about.default);
  find("about").textContent = `${chosen.gestures.toLocaleString()} recorded gestures`;
  find("examples").replaceChildren(...EXAMPLES.map(example));
  const asked = new URLSearchParams(location.search).get("q");
  text.value = asked ?? "";
  await look();
}

function example(words) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = words;
  button.addEventListener("click", () => {
    text.value = words;
    look();
  });
  item.append(button);
  return item;
}

/** Looks the words up; what was being looked up before is given up. */
async function look() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const words = text.value.trim() || text.placeholder;
  const methods = [...new Set([model.value, other.value])].filter(Boolean);
  try {
    const answers = await Promise.all(
      methods.map((name) => api.retrieve({ text: words, model: name }, signal)),
    );
    if (signal.aborted) return;
    show(answers);
    say(null);
    await Promise.all(cards.map((card) => card.load(signal)));
  } catch (error) {
    if (error.name !== "AbortError") say(error);
  }
}

function show(answers) {
  cards.forEach((card) => card.close());
  cards = [];
  found.classList.toggle("side", answers.length > 1);
  found.replaceChildren(
    ...answers.map((answer) => {
      const column = document.createElement("div");
      const title = document.createElement("h2");
      title.className = "method-of";
      title.textContent = answer.model;
      title.hidden = answers.length < 2;
      const list = document.createElement("div");
      list.className = "cards";
      for (const gesture of answer.gestures) {
        const card = new Card(find("card"), skeleton, api, answer.model, gesture);
        cards.push(card);
        list.append(card.element);
      }
      column.append(title, list);
      return column;
    }),
  );
}

function say(error) {
  trouble.hidden = !error;
  if (!error) return;
  const unknown = error instanceof Refused && error.status === 401;
  trouble.textContent = unknown
    ? "This page needs a key: open the address that `gestray serve` printed."
    : `The server could not answer: ${error.message}`;
}

let typing = 0;
text.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(look, PAUSE_MS);
});
find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  look();
});
for (const choice of [model, other]) choice.addEventListener("change", look);

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== text) {
    event.preventDefault();
    text.select();
    return;
  }
  const at = cards.findIndex((card) => card.element === document.activeElement);
  if (at < 0) return;
  if (event.key === " ") {
    event.preventDefault();
    cards.forEach((card, number) => number !== at && card.silence());
    cards[at].toggleSound().catch(say);
  }
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) cards[(at + step + cards.length) % cards.length].element.focus();
});

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let last = performance.now();
function tick(now) {
  const seconds = Math.min(0.1, (now - last) / 1000);
  last = now;
  for (const card of cards) {
    const active = card.element.matches(":hover, :focus, .sounding");
    if (!still || active) card.advance(seconds);
  }
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);
start().catch(say);
