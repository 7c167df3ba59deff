// A stage with its timeline: one motion, what is heard and said with it, and what it means.

import { makeStage } from "./assets/avatar.js";
import { VIEWS } from "./assets/figure.js";
import { unpackTurns } from "./assets/turns.js";
import { Timeline } from "./timeline.js";

const REST_S = 0.7; // between two rounds
const SUBTITLE = 7; // words at a time
const SPEEDS = [1, 0.5, 0.25];
const FORMATS = { npz: "SMPL-X", bvh: "skeleton", glb: "avatar", vrma: "VRM", mp4: "film" };
const PHASES = ["preparation", "stroke", "hold", "retraction"];

export class Player {
  constructor(element, api, say) {
    this.element = element;
    Object.assign(this, { api, say, take: null, at: 0, playing: true, view: 0, speed: 0, sound: null });
    this.part = (name) => this.element.querySelector(`[data-part=${name}]`);
    this.timeline = new Timeline(this.part("timeline"), (seconds) => this.seek(seconds));
    this.part("play").addEventListener("click", () => this.toggle());
    this.part("view").addEventListener("click", () => this.turn());
    this.part("speed").addEventListener("click", () => this.slower());
    this.part("downloads").addEventListener("click", (event) => {
      if (event.target.dataset.kind) this.#download(event.target.dataset.kind).catch(say);
    });
    this.#label();
  }

  /** After the element is on the page. */
  async open(skeleton) {
    this.stage = await makeStage(this.part("canvas"), skeleton);
    this.clear();
  }

  /**
   * Shows `take`: {of, title, text, words, phases, meaning, seconds, form, intent, intent_text,
   * has_audio, formats}, where `of` is what the API's client wants to know.
   */
  async show(take, signal) {
    this.silence();
    this.element.classList.add("loading");
    const [turns, sound] = await Promise.all([
      this.api.turns(take.of, signal),
      take.has_audio ? this.api.sound(take.of, signal) : null,
    ]);
    const samples = sound && (await decoded(sound));
    if (signal?.aborted) return;
    this.#forget();
    this.take = take;
    this.element.classList.remove("empty");
    this.sound = sound && new Audio(URL.createObjectURL(sound));
    const motion = unpackTurns(turns);
    this.seconds = motion.frames / motion.fps;
    this.stage.show(motion);
    this.timeline.show({ ...take, seconds: this.seconds, samples });
    this.#describe();
    this.at = 0;
    this.element.classList.remove("loading");
    this.#label();
    this.draw();
  }

  #describe() {
    const { title, intent, intent_text: means, form } = this.take;
    for (const [name, value] of Object.entries({ title, form, means })) {
      this.part(name).textContent = value ?? "";
      this.part(name).hidden = !value;
    }
    this.part("intent").textContent = (intent ?? "").replaceAll("_", " ");
    this.part("intent").hidden = !intent;
    this.part("anchor").hidden = !form && !means && !intent;
    this.part("files").hidden = !this.take.formats?.length;
    this.part("downloads").replaceChildren(
      ...(this.take.formats ?? []).map((kind) => {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.kind = kind;
        const what = document.createElement("span");
        what.textContent = FORMATS[kind] ?? "";
        button.append(`.${kind} `, what);
        return button;
      }),
    );
  }

  async #download(kind) {
    this.part("files").open = false;
    this.element.classList.add("loading");
    try {
      const blob = await this.api.file(this.take.of, kind);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${(this.take.of.clip ?? this.take.of.motion).replace(":", "_")}.${kind}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } finally {
      this.element.classList.remove("loading");
    }
  }

  /** Makes room; for motion that comes by and by, whoever brings it draws it. */
  clear() {
    this.silence();
    this.#forget();
    this.take = null;
    this.element.classList.add("empty");
    this.part("title").hidden = true;
    this.part("phase").textContent = "";
    this.caption([]);
  }

  /** What is being said: [word, whether it is now] each. */
  caption(words) {
    const spans = words.map(([word, now]) => {
      const span = document.createElement("span");
      span.textContent = word;
      span.classList.toggle("now", now);
      return [span, " "];
    });
    this.part("said").replaceChildren(...spans.flat());
    this.part("said").hidden = !words.length;
  }

  get isHeard() {
    return Boolean(this.sound && !this.sound.paused);
  }

  /** Plays, with sound where there is any, or stands still. */
  toggle() {
    if (!this.take) return;
    // The first press makes a silent figure speak, from the beginning.
    if (this.playing && this.sound && !this.isHeard) return this.speak();
    this.playing = !this.playing;
    if (this.playing && this.sound) return this.speak(this.at);
    this.silence();
    this.#label();
  }

  speak(from = 0) {
    if (!this.sound) return;
    this.at = from;
    this.playing = true;
    this.sound.currentTime = from;
    this.sound.playbackRate = SPEEDS[this.speed];
    // Without a sound card figures move all the same.
    this.sound.play().catch(() => {}).finally(() => this.#label());
  }

  silence() {
    this.sound?.pause();
    this.#label();
  }

  seek(seconds) {
    if (!this.take) return;
    this.at = Math.max(0, Math.min(this.seconds, seconds));
    if (this.sound) this.sound.currentTime = this.at;
    this.draw();
  }

  /** By frames, standing still. */
  step(frames) {
    if (!this.take) return;
    this.playing = false;
    this.silence();
    this.seek(this.at + frames / 30);
  }

  slower() {
    this.speed = (this.speed + 1) % SPEEDS.length;
    if (this.sound) this.sound.playbackRate = SPEEDS[this.speed];
    this.#label();
  }

  turn() {
    this.view = (this.view + 1) % VIEWS.length;
    this.stage.look(this.view);
    this.#label();
  }

  /** Moves on by so many seconds; to where the sound is, while there is sound. */
  advance(seconds) {
    if (!this.take || !this.playing) return;
    const heard = this.sound && !this.sound.paused && !this.sound.ended;
    this.at = heard ? this.sound.currentTime : this.at + seconds * SPEEDS[this.speed];
    if (this.at > this.seconds + REST_S) this.at = 0;
    this.draw();
  }

  draw() {
    const { frames, fps } = this.stage.motion;
    this.stage.draw(Math.min(frames - 1, this.at * fps));
    this.timeline.at(this.at);
    this.caption(subtitle(this.take, this.at));
    const phase = phaseAt(this.take.phases, this.at);
    this.part("anchor").classList.toggle("now", phase === "stroke" || phase === "hold");
    this.part("phase").textContent = phase ?? "";
    this.part("clock").textContent = `${Math.min(this.at, this.seconds).toFixed(1)} / ${this.seconds.toFixed(1)} s`;
  }

  #label() {
    const speaks = this.playing && this.sound && !this.isHeard;
    this.part("play").textContent = !this.playing || speaks ? "▶" : "❚❚";
    this.part("play").ariaLabel = !this.playing || speaks ? "Play" : "Pause";
    this.part("view").textContent = VIEWS[this.view][0];
    this.part("speed").textContent = `${SPEEDS[this.speed]}×`;
  }

  #forget() {
    if (this.sound) URL.revokeObjectURL(this.sound.src);
    this.sound = null;
  }

  close() {
    this.silence();
    this.#forget();
    this.stage?.close();
  }
}

/** The stretch of words around now. */
function subtitle({ words, text }, at) {
  const timed = words?.length && words[0].start_s !== null;
  if (!timed) return text ? [[text, false]] : [];
  const last = words.findLastIndex((word) => word.start_s <= at);
  const first = SUBTITLE * Math.floor(Math.max(0, last) / SUBTITLE);
  return words
    .slice(first, first + SUBTITLE)
    .map(({ word, start_s, end_s }) => [word, start_s <= at && at < end_s]);
}

function phaseAt(phases, at) {
  if (!phases) return null;
  const ends = [phases.stroke_s, phases.hold_s, phases.retraction_s, phases.end_s];
  if (at < phases.start_s) return null;
  return PHASES[ends.findIndex((end) => at < end)] ?? null;
}

/** Samples of a sound, to be drawn; null where this browser cannot decode it. */
async function decoded(blob) {
  const context = new OfflineAudioContext(1, 1, 16000);
  return blob
    .arrayBuffer()
    .then((buffer) => context.decodeAudioData(buffer))
    .then((found) => found.getChannelData(0))
    .catch(() => null);
}
