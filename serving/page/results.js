// What one method found: a list of gestures, small figures moving, the chosen one on the stage.

import { makeStick } from "./assets/avatar.js";
import { unpackTurns } from "./assets/turns.js";

export class Results {
  /** `choose(gesture)` is called with the gesture that the reader wants on the stage. */
  constructor(element, template, skeleton, api, choose) {
    Object.assign(this, { element, template, skeleton, api, choose, cards: [], at: 0 });
  }

  /** Gestures of a method, best first. */
  show(gestures, model, signal) {
    this.cards = gestures.map((gesture) => this.#card(gesture));
    this.element.replaceChildren(...this.cards.map((card) => card.element));
    for (const card of this.cards) this.#load(card, model, signal);
    this.select(0, false);
  }

  clear() {
    this.cards = [];
    this.element.replaceChildren();
  }

  select(number, focus = true) {
    if (!this.cards.length) return;
    this.at = (number + this.cards.length) % this.cards.length;
    this.cards.forEach(({ element }, i) => {
      element.ariaSelected = String(i === this.at);
      element.tabIndex = i === this.at ? 0 : -1;
    });
    if (focus) this.cards[this.at].element.focus();
    this.choose(this.cards[this.at].gesture);
  }

  advance(seconds) {
    for (const card of this.cards) {
      if (!card.motion) continue;
      const { frames, fps } = card.motion;
      card.now = (card.now + seconds * fps) % (frames + fps / 2);
      card.stick.draw(Math.min(frames - 1, card.now));
    }
  }

  #card(gesture) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`.${name}`);
    part("rank").textContent = gesture.rank;
    part("said").textContent = gesture.text;
    part("intent").textContent = (gesture.intent ?? "").replaceAll("_", " ");
    part("intent").hidden = !gesture.intent;
    part("form").textContent = gesture.form ?? "";
    part("score").textContent = gesture.score.toFixed(2);
    part("bar").style.width = `${100 * Math.max(0, gesture.score)}%`;
    element.ariaLabel = `${gesture.rank}: ${gesture.text}`;
    const card = { element, gesture, stick: makeStick(part("mini"), this.skeleton), now: 0, motion: null };
    element.addEventListener("click", () => this.select(this.cards.indexOf(card)));
    return card;
  }

  async #load(card, model, signal) {
    try {
      const buffer = await this.api.turns({ clip: card.gesture.id, model }, signal);
      card.motion = unpackTurns(buffer);
      card.stick.show(card.motion);
    } catch (error) {
      if (error.name !== "AbortError") card.element.classList.add("bare");
    }
  }
}
