// Plays a phrase: the figure, the clock, and the words as they are said.

import { Figure, VIEWS, unpack } from "./figure.js";

const SPEEDS = [1, 0.5, 0.25];

export class Player {
  constructor(skeleton) {
    const find = (id) => document.getElementById(id);
    this.parts = Object.fromEntries(
      ["scrub", "play", "clock", "transcript", "stroke", "hold", "view", "speed", "no-motion"].map(
        (id) => [id, find(id)],
      ),
    );
    this.figure = new Figure(find("figure"), skeleton);
    this.view = this.speed = 0;
    this.frame = 0;
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.parts.scrub.addEventListener("input", () => this.seek(Number(this.parts.scrub.value)));
    this.parts.play.addEventListener("click", () => this.toggle());
    this.#label();
    let last = performance.now();
    const tick = (now) => {
      if (this.playing && this.motion) this.#advance((now - last) / 1000);
      last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  /** A phrase's words and the times of its stroke, before its motion is there. */
  read(anchor) {
    this.motion = null;
    this.parts.scrub.max = 0;
    this.figure.show(null);
    this.words = anchor.words;
    const carrying = new Set((anchor.intent?.words ?? []).flatMap((words) => words.split(" ")));
    this.parts.transcript.replaceChildren(
      ...anchor.words.flatMap((word) => {
        const button = document.createElement("button");
        button.type = "button";
        button.tabIndex = -1;
        button.textContent = word.word;
        button.classList.toggle("carries", carrying.has(word.word.toLowerCase()));
        button.addEventListener("click", () => {
          if (this.motion && word.start_s !== null) this.seek(word.start_s * this.motion.fps);
        });
        return [button, " "];
      }),
    );
    this.parts["no-motion"].hidden = true;
    this.stroke = anchor.stroke;
    this.#place();
  }

  /** The packed motion of the phrase, or null where there is none. */
  show(buffer) {
    this.motion = buffer && unpack(buffer);
    this.parts["no-motion"].hidden = Boolean(buffer);
    this.parts.scrub.max = this.motion ? this.motion.frames - 1 : 0;
    this.figure.show(this.motion);
    this.#place();
    this.seek(0);
  }

  toggle() {
    this.playing = !this.playing;
    this.#label();
  }

  step(frames) {
    this.playing = false;
    this.#label();
    this.seek(Math.round(this.frame) + frames);
  }

  slower() {
    this.speed = (this.speed + 1) % SPEEDS.length;
    this.#label();
  }

  turn() {
    this.view = (this.view + 1) % VIEWS.length;
    this.figure.look(this.view);
    this.#label();
  }

  seek(frame) {
    if (!this.motion) return;
    this.frame = Math.max(0, Math.min(this.motion.frames - 1, frame));
    const shown = Math.floor(this.frame);
    const now = this.frame / this.motion.fps;
    this.parts.scrub.value = shown;
    this.parts.clock.textContent =
      `${now.toFixed(2)} / ${(this.motion.frames / this.motion.fps).toFixed(2)} s`;
    if (shown !== this.figure.frame || !shown) this.figure.draw(shown);
    this.words.forEach((word, number) => {
      const said = word.start_s !== null && word.start_s <= now && now < word.end_s;
      this.parts.transcript.children[number].classList.toggle("now", said);
    });
  }

  #advance(seconds) {
    const next = this.frame + seconds * SPEEDS[this.speed] * this.motion.fps;
    this.seek(next >= this.motion.frames ? 0 : next);
  }

  #place() {
    const length = this.motion ? this.motion.frames / this.motion.fps : 0;
    const spans = this.stroke ? [this.stroke.slice(0, 2), this.stroke.slice(1)] : [];
    [this.parts.stroke, this.parts.hold].forEach((bar, number) => {
      bar.hidden = !length || !spans[number];
      if (bar.hidden) return;
      const [from, to] = spans[number].map((time) => Math.min(100, 100 * time / length));
      bar.style.left = `${from}%`;
      bar.style.width = `${to - from}%`;
    });
  }

  #label() {
    this.parts.play.textContent = this.playing ? "❚❚" : "▶";
    this.parts.view.textContent = VIEWS[this.view][0];
    this.parts.speed.textContent = `${SPEEDS[this.speed]}×`;
  }
}
