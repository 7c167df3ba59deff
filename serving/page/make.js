// What is to be moved for: typed text, a file, or what the microphone hears.

import { microphone, wav } from "./microphone.js";

const find = (id) => document.getElementById(id);

export class Maker {
  /** `generate(ask)` is given `ask(model, signal)`, which asks one model for a motion. */
  constructor(api, say, generate) {
    Object.assign(this, { api, say, audio: null, recording: null });
    find("file").addEventListener("change", () => this.#attach(find("file").files[0] ?? null));
    find("attached").querySelector("button").addEventListener("click", () => this.#attach(null));
    find("record").addEventListener("click", () => this.#record().catch(say));
    find("make").addEventListener("submit", (event) => {
      event.preventDefault();
      say(null);
      generate((model, signal) => this.#ask(model, signal)).catch(say);
    });
    find("say").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      find("make").requestSubmit();
    });
    const drop = find("make");
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#attach(event.dataTransfer.files[0] ?? null);
    });
  }

  offerSpeakers(names) {
    const select = find("speaker");
    const before = select.value;
    select.replaceChildren(new Option("anybody", ""), ...names.map((name) => new Option(name)));
    select.value = names.includes(before) ? before : "";
    select.parentElement.hidden = !names.length;
  }

  #ask(model, signal) {
    const speaker = find("speaker").value || null;
    const seed = Number(find("seed").value) || 0;
    const text = find("say").value.trim();
    if (this.audio) {
      return this.api.generateFor(this.audio, { transcript: text, speaker, seed, model }, signal);
    }
    return this.api.generate({ text: text || find("say").placeholder, speaker, seed, model }, signal);
  }

  #attach(audio, name = audio?.name) {
    this.audio = audio;
    find("attached").hidden = !audio;
    find("attached").firstElementChild.textContent = name ?? "";
    find("say").placeholder = audio
      ? "What is said in it, if you know"
      : "It was huge, I have no idea how they did it!";
    if (!audio) find("file").value = "";
  }

  async #record() {
    const button = find("record");
    if (this.recording) {
      const { mic, pieces } = this.recording;
      this.recording = null;
      mic.stop();
      button.classList.remove("recording");
      button.lastElementChild.textContent = "Record";
      const samples = pieces.reduce((sum, piece) => sum + piece.length, 0);
      return this.#attach(wav(pieces), `recording, ${(samples / 16000).toFixed(1)} s`);
    }
    const pieces = [];
    const mic = await microphone((piece) => {
      pieces.push(piece);
      const samples = pieces.reduce((sum, one) => sum + one.length, 0);
      button.lastElementChild.textContent = `Stop ${(samples / 16000).toFixed(0)} s`;
    });
    this.recording = { mic, pieces };
    button.classList.add("recording");
  }
}
