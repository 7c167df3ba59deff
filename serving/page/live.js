// Motion as one talks: speech goes out over a socket, motion comes back and is played as it comes.
//
// An AudioContext is the clock, of what is heard and of the frames alike: where motion is late, the
// clock stands still until it is there.

import { GrowingTurns } from "./assets/turns.js";
import { RATE, microphone } from "./microphone.js";

const LEAD_S = 0.15; // of motion, before it is played
const AWAKE_MS = 5000; // after which the server is told that somebody is still there
const TRIES = 3;
const LOST = [1006, 1012]; // ways to lose a connection that can be resumed

const find = (id) => document.getElementById(id);

export class Live {
  /** `on` says which `model` and `player`, when they are `ready`, and is told what is `done`. */
  constructor(api, say, on) {
    Object.assign(this, { api, say, on, input: null, socket: null });
    find("talk").addEventListener("click", () => (this.mic ? this.end() : this.talk().catch(say)));
    find("end").addEventListener("click", () => this.end());
    find("live").addEventListener("submit", (event) => {
      event.preventDefault();
      const sentence = find("sentence").value.trim();
      if (!sentence) return;
      find("sentence").value = "";
      this.type(sentence).catch(say);
    });
  }

  async talk() {
    await this.#begin("audio");
    const pieces = [];
    this.mic = await microphone((piece) => {
      pieces.push(piece);
      if (this.started) pieces.splice(0).forEach((one) => this.#send(one));
    });
    find("talk").classList.add("recording");
    find("talk").lastElementChild.textContent = "Stop";
  }

  async type(sentence) {
    if (this.input !== "text") await this.#begin("text");
    this.#send(sentence);
  }

  /** Nothing more is said; the rest of the motion comes, then the whole of it can be taken away. */
  end() {
    this.#quiet();
    if (!this.socket || this.ended) return;
    this.ended = true;
    if (this.started) this.socket.send(JSON.stringify({ type: "end" }));
    find("end").disabled = true;
  }

  /** Gives the stream up. */
  stop() {
    this.#quiet();
    this.input = null;
    this.socket?.close();
    this.socket = null;
    this.clock?.close();
    this.clock = null;
    this.motion = null;
    find("end").disabled = true;
    find("state").textContent = "";
  }

  /** Draws what is to be seen now. */
  advance() {
    if (this.started && performance.now() - this.acknowledged > AWAKE_MS) this.#acknowledge();
    if (!this.motion?.frames || !this.clock) return;
    const { frames, fps } = this.motion;
    const held = this.clock.state === "suspended";
    if (this.began === null) {
      if (frames < LEAD_S * fps && !this.result) return;
      this.began = this.clock.currentTime + 0.05;
      this.sounds.splice(0).forEach((sound) => this.#schedule(sound));
    }
    const at = Math.max(0, this.clock.currentTime - this.began);
    if (at * fps >= frames - 1 && !held) this.clock.suspend();
    if (held && (frames - 1) / fps > at + LEAD_S) this.clock.resume();
    this.on.player().stage.draw(Math.min(frames - 1, at * fps));
    const seconds = (frames / fps).toFixed(1);
    const behind = this.heard / RATE - at;
    const late = this.input === "audio" && !this.ended ? `, ${behind.toFixed(1)} s behind` : "";
    find("state").textContent = `${seconds} s of motion${late}`;
    const said = this.words.filter((word) => word.start_s <= at).slice(-7);
    this.on.player().caption(said.map(({ word, end_s }) => [word, at < end_s]));
    const over = this.result && at * fps >= frames - 1.5;
    if (over) this.#finish();
  }

  async #begin(input) {
    this.stop();
    this.say(null);
    Object.assign(this, {
      input, started: null, ended: false, result: null, began: null, sounds: [], words: [],
      sent: [], heard: 0, last: -1, spoken: -1, tries: TRIES, motion: null, clock: new AudioContext(),
    });
    find("end").disabled = false;
    find("state").textContent = "connecting…";
    await this.on.ready();
    this.on.player().clear();
    this.#connect({ type: "start", input, model: this.on.model() || null });
  }

  #connect(hello) {
    const socket = this.api.stream();
    this.socket = socket;
    socket.addEventListener("open", () => socket.send(JSON.stringify(hello)));
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") this.#told(JSON.parse(data));
      else this.#brought(data);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (socket !== this.socket || this.result) return;
      if (this.stream && LOST.includes(code) && this.tries--) {
        find("state").textContent = "connection lost, going on…";
        this.started = null;
        const again = { type: "resume", stream: this.stream, after: this.last, spoken: this.spoken };
        setTimeout(() => socket === this.socket && this.#connect(again), 500);
        return;
      }
      const why = this.problem ?? (reason || `the connection was closed (${code})`);
      this.stop();
      this.say(new Error(why));
    });
  }

  #told(message) {
    const { type } = message;
    if (type === "started" || type === "resumed") {
      this.motion ??= new GrowingTurns(message.fps);
      this.stream = message.stream;
      this.acknowledged = performance.now();
      this.started = message;
      if (type === "started") this.on.player().stage.show(this.motion);
      if (type === "resumed") this.#repeat(message);
      else this.sent.forEach((piece) => this.#out(piece));
      if (this.ended) this.socket.send(JSON.stringify({ type: "end" }));
      this.problem = null;
      find("state").textContent = "listening";
    } else if (type === "words") {
      this.words.push(...message.words);
    } else if (type === "problem") {
      this.problem = message.detail;
    } else if (type === "end") {
      this.result = message.motion;
    }
  }

  /** A chunk of motion, or of what is spoken. */
  #brought(buffer) {
    const header = new DataView(buffer);
    const tag = String.fromCharCode(...new Uint8Array(buffer, 0, 4));
    const [number, first, count] = [4, 8, 12].map((at) => header.getUint32(at, true));
    if (tag === "pcm ") {
      this.spoken = number;
      const sound = { first, samples: new Int16Array(buffer, 16, count) };
      if (this.began === null) this.sounds.push(sound);
      else this.#schedule(sound);
      return;
    }
    if (number !== this.last + 1) return; // sent again
    this.motion.add(new Float32Array(buffer, 16), count, (buffer.byteLength - 16) / 4 / count);
    this.last = number;
    this.#acknowledge();
  }

  #acknowledge() {
    this.acknowledged = performance.now();
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ type: "ack", chunk: this.last }));
  }

  #schedule({ first, samples }) {
    const sound = this.clock.createBuffer(1, samples.length, RATE);
    sound.copyToChannel(Float32Array.from(samples, (value) => value / 32768), 0);
    const source = this.clock.createBufferSource();
    source.buffer = sound;
    source.connect(this.clock.destination);
    source.start(Math.max(this.clock.currentTime, this.began + first / RATE));
  }

  /** A piece of sound, or a sentence; kept, in case it must be said again. */
  #send(piece) {
    this.sent.push(piece);
    if (typeof piece !== "string") this.heard += piece.length;
    if (this.started) this.#out(piece);
  }

  #out(piece) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(
      typeof piece === "string" ? JSON.stringify({ type: "text", text: piece }) : piece,
    );
  }

  /** What the server has not heard before the connection was lost. */
  #repeat({ samples = 0, texts = 0 }) {
    if (this.input === "text") return this.sent.slice(texts).forEach((piece) => this.#out(piece));
    let at = 0;
    for (const piece of this.sent) {
      if (at + piece.length > samples) this.#out(piece.subarray(Math.max(0, samples - at)));
      at += piece.length;
    }
  }

  #quiet() {
    this.mic?.stop();
    this.mic = null;
    find("talk").classList.remove("recording");
    find("talk").lastElementChild.textContent = "Microphone";
  }

  #finish() {
    const motion = this.result;
    this.stop();
    find("state").textContent = "the whole of it:";
    this.on.done(motion);
  }
}
