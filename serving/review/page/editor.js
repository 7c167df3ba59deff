// The sheet beside the motion: an anchor's form and intent, read as text or changed by choice.

import { sentence } from "./api.js";

const NONE = "none";
const MIRRORED = { left: "right", right: "left" };
const SIDES = ["left", "right"];

const find = (id) => document.getElementById(id);
const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}']+/gu, " ").trim();

export class Editor {
  constructor(session) {
    this.session = session;
    this.root = find("editor");
    this.sets = [find("intent"), find("form")];
    this.gesture = {};
    this.hands = { left: {}, right: {} };
    for (const [name, terms] of Object.entries(session.fields.gesture)) {
      const label = document.createElement("label");
      this.gesture[name] = choice(name, terms);
      label.append(name, this.gesture[name]);
      find("gesture-fields").append(label);
    }
    for (const [name, terms] of Object.entries(session.fields.hand)) {
      const row = find("hand-fields").tBodies[0].insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      for (const side of SIDES) {
        this.hands[side][name] = choice(`${side} ${name}`, terms);
        row.insertCell().append(this.hands[side][name]);
      }
    }
    fill(find("label"), [NONE, ...Object.keys(session.intents)]);
    fill(find("confidence"), Object.keys(session.confidences));
    this.gesture.handedness.addEventListener("change", () => this.#changeHands());
    find("form").addEventListener("change", () => this.#describe());
    find("label").addEventListener("change", () => this.#define());
  }

  get editing() {
    return this.root.classList.contains("editing");
  }

  /** Show an anchor as it stands: as decided, where it has been. */
  show(anchor) {
    this.anchor = anchor;
    const decided = anchor.mine?.form ? anchor.mine : null;
    this.#fill(decided?.form ?? anchor.form, decided ? decided.intent : anchor.intent);
    find("form-text").textContent = decided?.form_text ?? anchor.form_text;
    this.#explain();
    this.#compare();
    this.edit(false);
  }

  edit(on) {
    this.root.classList.toggle("editing", on);
    this.sets.forEach((set) => { set.disabled = !on; });
    for (const id of ["accept", "edit", "reject"]) find(id).hidden = on;
    for (const id of ["save", "cancel"]) find(id).hidden = !on;
    find("accept").disabled = this.anchor.status === "failed";
    this.complain("");
    if (on) find("label").focus();
  }

  complain(problem) {
    find("problem").textContent = problem;
    find("problem").hidden = !problem;
  }

  /** What the server takes as an edit. */
  proposal() {
    return { decision: "edit", form: this.#form(), intent: this.#intent() };
  }

  #fill(form, intent) {
    for (const [name, select] of Object.entries(this.gesture)) select.value = form[name];
    this.kept = {};
    for (const side of SIDES) if (form[side]) this.#setHand(side, form[side]);
    this.#showHands();
    this.intent = intent;
    find("label").value = intent?.label ?? NONE;
    find("sentence").value = intent?.sentence ?? "";
    const confidences = Object.entries(this.session.confidences);
    const distance = ([, value]) => Math.abs(value - (intent?.confidence ?? 0.9));
    this.nearest = confidences.reduce((a, b) => (distance(b) < distance(a) ? b : a))[0];
    find("confidence").value = this.nearest;
    const carrying = new Set((intent?.words ?? []).flatMap((words) => plain(words).split(" ")));
    const words = [...new Set(this.anchor.words.map((word) => word.word))].filter(plain);
    find("words").replaceChildren(...words.map((word) => toggle(word, carrying.has(plain(word)))));
    this.touched = false;
    find("words").onclick = () => { this.touched = true; };
    this.#define();
  }

  #setHand(side, hand) {
    const flat = { ...hand, ...hand.location, ...hand.trajectory };
    for (const [name, select] of Object.entries(this.hands[side])) select.value = flat[name];
    this.kept[side] = true;
  }

  #hand(side) {
    const flat = Object.fromEntries(
      Object.entries(this.hands[side]).map(([name, select]) => [name, select.value]),
    );
    flat.repetitions = Number(flat.repetitions);
    const { location, trajectory } = this.session.parts;
    const part = (names) => Object.fromEntries(names.map((name) => [name, flat[name]]));
    return {
      location: part(location), trajectory: part(trajectory),
      palm: flat.palm, shape: flat.shape, contact: flat.contact,
    };
  }

  #takesPart(side) {
    return ["both", side].includes(this.gesture.handedness.value);
  }

  #form() {
    const form = Object.fromEntries(
      Object.entries(this.gesture).map(([name, select]) => [name, select.value]),
    );
    for (const side of SIDES) form[side] = this.#takesPart(side) ? this.#hand(side) : null;
    return form;
  }

  #intent() {
    const label = find("label").value;
    if (label === NONE) return null;
    const pressed = [...find("words").querySelectorAll('[aria-pressed="true"]')];
    const before = this.intent;
    const confidence = find("confidence").value;
    return {
      label,
      sentence: find("sentence").value,
      words: before && !this.touched ? before.words : pressed.map((word) => word.textContent),
      confidence: before && confidence === this.nearest
        ? before.confidence : this.session.confidences[confidence],
    };
  }

  /** A hand that joins does the mirror image of the other; two hands have a relation. */
  #changeHands() {
    for (const side of SIDES) {
      const other = MIRRORED[side];
      if (!this.#takesPart(side) || this.kept[side]) continue;
      if (this.kept[other]) {
        const hand = this.#hand(other);
        hand.location.side = MIRRORED[hand.location.side] ?? hand.location.side;
        hand.trajectory.direction = MIRRORED[hand.trajectory.direction] ?? hand.trajectory.direction;
        this.#setHand(side, hand);
      }
      this.kept[side] = true;
    }
    const { relation } = this.gesture;
    const both = this.gesture.handedness.value === "both";
    if (both && relation.value === "single") relation.value = "mirror";
    if (!both) relation.value = "single";
    this.#showHands();
  }

  #showHands() {
    find("hand-fields").hidden = !SIDES.some((side) => this.#takesPart(side));
    for (const side of SIDES) {
      const absent = !this.#takesPart(side);
      for (const select of Object.values(this.hands[side])) select.classList.toggle("absent", absent);
    }
  }

  async #describe() {
    const form = this.#form();
    try {
      const text = await sentence(form);
      if (JSON.stringify(form) !== JSON.stringify(this.#form())) return; // changed meanwhile
      find("form-text").textContent = text;
      this.complain("");
    } catch (error) {
      this.complain(error.message);
    }
  }

  #define() {
    const label = find("label").value;
    find("definition").textContent =
      this.session.intents[label] ?? "Form and words support no intent together.";
    find("meaning").hidden = label === NONE;
  }

  /** What the grounder has to say for itself. */
  #explain() {
    const { status, reason, raw, grounder, model, intent, mine } = this.anchor;
    const chip = find("status");
    chip.textContent = status;
    chip.className = `chip ${status}`;
    const decided = find("mine");
    decided.hidden = !mine;
    decided.textContent = mine ? `you: ${mine.decision}` : "";
    decided.className = `chip ${mine?.decision ?? ""}`;
    const said = intent
      ? `${intent.label}, with confidence ${intent.confidence.toFixed(2)}`
      : reason || "no intent";
    find("verification").textContent = `By ${grounder} (${model}): ${said}.`;
    find("raw").hidden = !raw;
    find("raw").querySelector("pre").textContent = raw;
  }

  /** What others decided; told only once one has decided oneself. */
  #compare() {
    const { mine, others } = this.anchor;
    find("others").replaceChildren(
      ...others.map((other) => {
        const differences = mine && other.form && mine.form
          ? differing(mine, other) : mine?.decision === other.decision ? [] : [other.decision];
        const box = document.createElement("article");
        box.classList.toggle("agrees", !differences.length);
        const name = document.createElement("strong");
        name.textContent = other.annotator;
        box.append(name, differences.length ? ` says otherwise: ${differences.join("; ")}` : " agrees");
        return box;
      }),
    );
  }
}

/** The fields in which two decisions differ, as "field: theirs, not mine". */
function differing(mine, other) {
  const all = (decision) => {
    const { left, right, ...gesture } = decision.form;
    const flat = { intent: decision.intent?.label ?? NONE, ...gesture };
    for (const [side, hand] of [["left", left], ["right", right]]) {
      if (!hand) continue;
      const { location, trajectory, ...held } = hand;
      for (const [name, value] of Object.entries({ ...location, ...held, ...trajectory })) {
        flat[`${side} ${name}`] = value;
      }
    }
    return flat;
  };
  const [ours, theirs] = [all(mine), all(other)];
  return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
    .filter((name) => ours[name] !== theirs[name])
    .map((name) => `${name} ${theirs[name] ?? "absent"}, not ${ours[name] ?? "absent"}`);
}

function fill(select, values) {
  select.replaceChildren(...values.map((value) => new Option(value, value)));
}

function choice(name, terms) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", name);
  fill(select, terms);
  return select;
}

function toggle(word, on) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = word;
  button.setAttribute("aria-pressed", on);
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
  });
  return button;
}
