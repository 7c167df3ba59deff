// A gesture that was found: its figure moving, its words as they are said, what it means.

import { Figure, unpack } from "./assets/figure.js";

const REST_S = 0.6; // between two rounds

export class Card {
  constructor(template, skeleton, api, model, gesture) {
    this.element = template.content.firstElementChild.cloneNode(true);
    const part = (name) => this.element.querySelector(name);
    Object.assign(this, { api, model, gesture, motion: null, at: 0, words: [], sound: null });
    part(".rank").textContent = gesture.rank;
    part(".score").textContent = gesture.score.toFixed(2);
    part(".intent").textContent = (gesture.intent ?? "").replaceAll("_", " ");
    part(".form").textContent = gesture.form ?? "";
    part(".words").textContent = gesture.text;
    this.element.setAttribute("aria-label", `${gesture.rank}: ${gesture.text}`);
    this.figure = new Figure(part("canvas"), skeleton);
    this.element.addEventListener("dblclick", () => this.toggleSound());
  }

  async load(signal) {
    const { id } = this.gesture;
    const [motion, clip] = await Promise.all([
      this.api.motion(id, this.model, signal),
      this.api.clip(id, this.model, signal),
    ]);
    this.clip = clip;
    this.motion = unpack(motion);
    this.figure.show(this.motion);
    const line = this.element.querySelector(".words");
    this.words = clip.words.map(({ word, start_s, end_s }) => {
      const span = document.createElement("span");
      span.textContent = word;
      return { span, start_s, end_s };
    });
    if (this.words.length) line.replaceChildren(...this.words.flatMap(({ span }) => [span, " "]));
  }

  /** Moves on by so many seconds; to where the sound is, while there is sound. */
  advance(seconds) {
    if (!this.motion) return;
    const length = this.motion.frames / this.motion.fps;
    this.at = this.sound && !this.sound.paused ? this.sound.currentTime : this.at + seconds;
    if (this.at > length + REST_S) this.at = 0;
    this.draw();
  }

  draw() {
    const { frames, fps } = this.motion;
    this.figure.draw(Math.min(frames - 1, Math.floor(this.at * fps)));
    for (const { span, start_s, end_s } of this.words) {
      span.classList.toggle("now", start_s !== null && start_s <= this.at && this.at < end_s);
    }
  }

  async toggleSound() {
    if (this.sound && !this.sound.paused) return this.silence();
    this.at = 0;
    if (!this.clip?.has_audio) return;
    if (!this.sound) {
      const blob = await this.api.sound(this.gesture.id, this.model);
      this.sound = new Audio(URL.createObjectURL(blob));
      this.sound.addEventListener("pause", () => this.element.classList.remove("sounding"));
    }
    this.sound.currentTime = 0;
    this.element.classList.add("sounding");
    await this.sound.play();
  }

  silence() {
    this.sound?.pause();
  }

  close() {
    this.silence();
    if (this.sound) URL.revokeObjectURL(this.sound.src);
  }
}
