// The page at which anchors are read and corrected: which one is shown, and what the keys do.

import * as api from "./api.js";
import { Editor } from "./editor.js";
import { Player } from "./player.js";

const find = (id) => document.getElementById(id);
const DECISIONS = { accept: "accepted", edit: "edited", reject: "rejected" };
const FILTERS = {
  decision: ["all", "undecided", ...Object.values(DECISIONS), "annotators disagree"],
  status: ["all", "grounded", "ungrounded", "failed"],
};

const KEYS = [
  ["a", "accept", () => decide({ decision: "accept" })],
  ["e", "edit", () => editor.edit(true)],
  ["r", "reject: nothing is to be learned from it", () => decide({ decision: "reject" })],
  ["u", "undo the decision", withdraw],
  ["j", "next", () => go(1), "ArrowDown"],
  ["k", "previous", () => go(-1), "ArrowUp"],
  ["n", "next undecided", nextUndecided],
  ["Space", "play or pause", () => player.toggle(), " "],
  [",", "a frame back", () => player.step(-1), "ArrowLeft"],
  [".", "a frame on", () => player.step(1), "ArrowRight"],
  ["s", "slower, or as it was", () => player.slower()],
  ["v", "turn the view", () => player.turn()],
  ["f", "filter", () => find("filter-decision").focus()],
  ["?", "these keys", () => find("help").showModal()],
];
const EDITING = [["Ctrl Enter", "save"], ["Esc", "cancel"], ["Tab", "next field"], ["↑ ↓", "choose"]];

let session, editor, player;
let visible = []; // numbers of the anchors that the filters let through
let at = 0; // place in `visible`
let shown = null; // number of the anchor on the page

async function begin() {
  session = await api.session();
  editor = new Editor(session);
  player = new Player(session.skeleton);
  find("about").textContent = `${session.title} · annotator ${session.annotator}`;
  find("synthetic").hidden = !session.synthetic;
  prepareFilters();
  const dialog = find("help");
  dialog.querySelector("dl").replaceChildren(...KEYS.flatMap(([key, what]) => [
    described("dt", key), described("dd", what),
  ]));
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  find("help-button").addEventListener("click", () => dialog.showModal());
  find("accept").addEventListener("click", () => decide({ decision: "accept" }));
  find("reject").addEventListener("click", () => decide({ decision: "reject" }));
  find("edit").addEventListener("click", () => begins(true));
  find("cancel").addEventListener("click", cancel);
  editor.root.addEventListener("submit", (event) => {
    event.preventDefault();
    decide(editor.proposal());
  });
  document.addEventListener("keydown", onKey);
  showKeys();
  filter();
  const first = visible.findIndex((number) => !session.anchors.decision[number]);
  await open(Math.max(0, first));
}

function described(tag, text) {
  const element = document.createElement(tag);
  if (tag === "dt") {
    const key = document.createElement("kbd");
    key.textContent = text;
    element.append(key);
  } else {
    element.textContent = text;
  }
  return element;
}

function prepareFilters() {
  const counts = new Map();
  for (const label of session.anchors.intent) counts.set(label, (counts.get(label) ?? 0) + 1);
  const labels = [...counts.keys()].sort();
  const options = { ...FILTERS, intent: ["all", ...labels] };
  for (const [name, values] of Object.entries(options)) {
    const select = find(`filter-${name}`);
    select.replaceChildren(...values.map((value) => new Option(
      name === "intent" && value !== "all" ? `${value} (${counts.get(value)})` : value, value,
    )));
    select.addEventListener("change", () => { filter(); open(0); });
  }
}

function filter() {
  const { status, intent, decision, disagrees } = session.anchors;
  const wanted = Object.fromEntries(
    ["decision", "status", "intent"].map((name) => [name, find(`filter-${name}`).value]),
  );
  const standing = (number) => {
    switch (wanted.decision) {
      case "all": return true;
      case "undecided": return !decision[number];
      case "annotators disagree": return disagrees[number];
      default: return DECISIONS[decision[number]] === wanted.decision;
    }
  };
  visible = [...status.keys()].filter((number) =>
    standing(number)
    && (wanted.status === "all" || status[number] === wanted.status)
    && (wanted.intent === "all" || intent[number] === wanted.intent));
  progress();
}

function progress() {
  const { decision } = session.anchors;
  const total = decision.length || 1;
  const count = (wanted) => decision.filter((found) => found === wanted).length;
  for (const [name, past] of Object.entries(DECISIONS)) {
    find(past).style.width = `${100 * count(name) / total}%`;
  }
  const done = decision.filter(Boolean).length;
  const parts = Object.entries(DECISIONS).map(([name, past]) => `${count(name)} ${past}`);
  find("progress").textContent = `${done} of ${decision.length} decided`;
  find("progress").title = parts.join(", ");
}

async function open(place) {
  document.querySelector("main").hidden = !visible.length;
  find("empty").hidden = Boolean(visible.length);
  if (!visible.length) {
    shown = null;
    return;
  }
  at = Math.max(0, Math.min(visible.length - 1, place));
  const number = shown = visible[at];
  try {
    const anchor = await api.anchor(number);
    if (shown !== number) return; // one has gone on meanwhile
    editor.show(anchor);
    player.read(anchor);
    const [from, to] = anchor.at ?? [];
    find("where").textContent = `${at + 1} of ${visible.length} · ${anchor.phrase_id}`
      + (anchor.at ? ` · ${from.toFixed(2)}–${to.toFixed(2)} s` : "");
    document.body.dataset.anchor = number;
    const motion = await api.motion(number);
    if (shown === number) player.show(motion);
  } catch (error) {
    toast(error.message);
  }
  showKeys();
}

function go(steps) {
  if (at + steps >= 0 && at + steps < visible.length) open(at + steps);
}

function nextUndecided() {
  const { decision } = session.anchors;
  const ahead = [...visible.slice(at + 1), ...visible.slice(0, at)];
  const next = ahead.find((number) => !decision[number]);
  if (next === undefined) toast("All of these are decided.");
  else open(visible.indexOf(next));
}

async function decide(proposal) {
  if (shown === null) return;
  const number = shown;
  try {
    const found = await api.decide(number, proposal);
    stand(number, found);
    toast(`${found.mine.decision === "accept" ? "accepted" : DECISIONS[found.mine.decision]}, kept`);
    begins(false);
    // With others' decisions one wants to see them first.
    if (found.others.length && found.position.disagrees) await open(at);
    else if (at + 1 < visible.length) await open(at + 1);
    else await open(at);
  } catch (error) {
    editor.complain(error.message);
  }
}

async function withdraw() {
  if (shown === null || !session.anchors.decision[shown]) return;
  const number = shown;
  try {
    stand(number, await api.withdraw(number));
    toast("undone");
    await open(at);
  } catch (error) {
    editor.complain(error.message);
  }
}

function stand(number, { position }) {
  session.anchors.decision[number] = position.decision;
  session.anchors.disagrees[number] = position.disagrees;
  progress();
}

function begins(editing) {
  if (!editing) document.activeElement.blur();
  editor.edit(editing);
  showKeys();
}

function cancel() {
  editor.show(editor.anchor);
  document.activeElement.blur();
  showKeys();
}

function onKey(event) {
  if (find("help").open) return; // the dialog closes itself
  if (editor.editing) {
    if (event.key === "Escape") cancel();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) editor.root.requestSubmit();
    else return;
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("select, input")) {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
    return;
  }
  const found = KEYS.find(([key, , , other]) => event.key === key || event.key === other);
  if (!found) return;
  event.preventDefault();
  found[2]();
  if (found[0] === "e") showKeys();
}

function showKeys() {
  const keys = editor.editing ? EDITING : KEYS;
  find("keys").replaceChildren(...keys.map(([key, what]) => {
    const hint = document.createElement("span");
    const name = document.createElement("kbd");
    name.textContent = key;
    hint.append(name, ` ${what.split(":")[0]}`);
    return hint;
  }));
}

let fading;
function toast(text) {
  const box = find("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { box.hidden = true; }, 1800);
}

begin().catch((error) => toast(error.message));
