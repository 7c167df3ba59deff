// The page: words in, gestures out, found or generated, of one method or of two side by side.

import { Gestray, Refused, keyOfPage } from "./api.js";
import { Live } from "./live.js";
import { Maker } from "./make.js";
import { Player } from "./player.js";
import { Results } from "./results.js";

const EXAMPLES = [
  "I have no idea", "a huge amount", "on the one hand", "please stop", "round and round again",
  "just a tiny bit", "you and me", "all the way up",
];
const PAUSE_MS = 250; // of typing, before the words are looked up
const KIND = { search: "retrieval", make: "generation", live: "generation" };

const find = (id) => document.getElementById(id);
const api = new Gestray(keyOfPage());
const [text, model, other] = ["text", "model", "other"].map(find);
const chosen = { retrieval: {}, generation: {} }; // methods, as they were chosen for each
let models = [];
let skeleton = null;
let mode = "search";
let shows = []; // {element, player, results}, one a method
let standing = null; // a promise that stages are there
let asking = new AbortController();

async function start() {
  [models, skeleton] = await Promise.all([api.models(), api.skeleton()]);
  const gestures = models.find((about) => about.kind === "retrieval" && about.default)?.gestures;
  if (gestures) find("about").textContent = `${gestures.toLocaleString()} recorded gestures`;
  find("examples").replaceChildren(...EXAMPLES.map(example));
  const asked = new URLSearchParams(location.search);
  text.value = asked.get("q") ?? "";
  await enter(asked.get("mode") in KIND ? asked.get("mode") : "search");
}

/** What is done on the page from now on. */
async function enter(name) {
  mode = name;
  asking.abort();
  live.stop();
  for (const tab of find("modes").children) tab.ariaSelected = String(tab.dataset.mode === name);
  for (const form of document.querySelectorAll("form")) form.hidden = form.dataset.for !== name;
  offerMethods();
  say(null);
  standing = stages();
  await standing;
  if (!models.some((about) => about.kind === KIND[mode])) {
    return say(new Error("this server has no generator; make one with `gestray generator train`"));
  }
  if (mode === "search") await look();
}

function offerMethods() {
  const kind = KIND[mode];
  const known = models.filter((about) => about.kind === kind);
  const normal = known.find((about) => about.default)?.name ?? "";
  model.replaceChildren(...known.map((about) => new Option(about.name)));
  model.value = chosen[kind].model ?? normal;
  other.replaceChildren(new Option("none", ""), ...known.map((about) => new Option(about.name)));
  other.value = chosen[kind].other ?? "";
  find("against").hidden = known.length < 2 || mode === "live";
  const about = known.find((one) => one.name === model.value);
  maker.offerSpeakers(about?.speakers ?? []);
}

function methods() {
  const beside = mode === "live" ? "" : other.value;
  return [...new Set([model.value, beside])].filter(Boolean);
}

/** As many stages as methods; those that stand are used again. */
async function stages() {
  const wanted = Math.max(1, methods().length);
  find("shows").classList.toggle("two", wanted > 1);
  while (shows.length > wanted) {
    const gone = shows.pop();
    gone.player.close();
    gone.element.remove();
  }
  while (shows.length < wanted) {
    const element = find("show").content.firstElementChild.cloneNode(true);
    const player = new Player(element.querySelector(".player"), api, say);
    find("shows").append(element);
    await player.open(skeleton);
    const show = { element, player };
    show.results = new Results(
      element.querySelector(".results"), find("card"), skeleton, api,
      (gesture) => choose(show, gesture).catch(say),
    );
    shows.push(show);
  }
  for (const { player, results } of shows) {
    results.clear();
    player.clear();
  }
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
  try {
    const names = methods();
    const answers = await Promise.all(
      names.map((name) => api.retrieve({ text: words, model: name }, signal)),
    );
    if (signal.aborted) return;
    say(null);
    answers.forEach((answer, i) => {
      shows[i].model = names[i];
      shows[i].results.show(answer.gestures, names[i], signal);
    });
  } catch (error) {
    if (error.name !== "AbortError") say(error);
  }
}

/** Puts a gesture that was found on its stage. */
async function choose(show, gesture) {
  show.choosing?.abort();
  show.choosing = new AbortController();
  const { signal } = show.choosing;
  try {
    const clip = await api.clip(gesture.id, show.model, signal);
    const title = shows.length > 1 ? show.model : null;
    const of = { clip: gesture.id, model: show.model };
    await show.player.show({ ...clip, of, title }, signal);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

/** Puts a generated motion on a stage. */
async function made(show, motion, signal) {
  const title = shows.length > 1 ? motion.model : null;
  await show.player.show({ ...motion, of: { motion: motion.id }, title }, signal);
}

const maker = new Maker(api, say, async (ask) => {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  await standing;
  await Promise.all(
    methods().map(async (name, i) => {
      const { element } = shows[i].player;
      element.classList.add("loading");
      try {
        await made(shows[i], await ask(name, signal), signal);
        if (i === 0) shows[i].player.speak();
      } finally {
        element.classList.remove("loading");
      }
    }),
  );
});

const live = new Live(api, say, {
  model: () => model.value,
  ready: () => standing,
  player: () => shows[0].player,
  done: (motion) => mode === "live" && made(shows[0], motion).catch(say),
});

function say(error) {
  find("trouble").hidden = !error;
  if (!error || error.name === "AbortError") return;
  const unknown = error instanceof Refused && error.status === 401;
  find("trouble").textContent = unknown
    ? "This page needs a key: open the address that `gestray serve` printed."
    : `That did not work: ${error.message}`;
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
for (const choice of [model, other]) {
  choice.addEventListener("change", async () => {
    chosen[KIND[mode]] = { model: model.value, other: other.value };
    offerMethods();
    standing = stages();
    await standing;
    if (mode === "search") await look();
  });
}
for (const tab of find("modes").children) {
  tab.addEventListener("click", () => enter(tab.dataset.mode).catch(say));
}

/** The show that keys are for: that with the focus, or the first. */
function current() {
  return shows.find(({ element }) => element.contains(document.activeElement)) ?? shows[0];
}

const KEYS = {
  " ": ({ player }) => {
    shows.forEach((show) => show.player !== player && show.player.silence());
    player.toggle();
  },
  ArrowDown: ({ results }) => results.select(results.at + 1),
  ArrowUp: ({ results }) => results.select(results.at - 1),
  ",": ({ player }) => player.step(-1),
  ".": ({ player }) => player.step(1),
  v: ({ player }) => player.turn(),
  s: ({ player }) => player.slower(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches?.("input, textarea, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector("form:not([hidden]) .field").select();
    return;
  }
  if (event.key === " " && event.target.closest?.("button, summary")) return;
  const show = current();
  if (!KEYS[event.key] || !show) return;
  event.preventDefault();
  KEYS[event.key](show);
});

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let last = performance.now();
function tick(now) {
  requestAnimationFrame(tick);
  const seconds = Math.min(0.1, (now - last) / 1000);
  last = now;
  live.advance();
  for (const { player, results } of shows) {
    if (!still || player.isHeard) player.advance(seconds);
    if (!still) results.advance(seconds);
  }
}
requestAnimationFrame(tick);
start().catch(say);
