// Time from left to right: what is heard, the words as they are said, and under them the gesture:
// prepared, made (the stroke), held, taken back.

const STEP_S = 0.1; // of an arrow key
const PIXELS_A_SECOND = 64; // at least, for words to be read

export class Timeline {
  constructor(element, seek) {
    this.element = element;
    this.seek = seek;
    this.seconds = 0;
    this.scrubbing = false;
    this.part = (name) => element.querySelector(`.${name}`);
    new ResizeObserver(() => this.#drawWave()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawWave());
    element.addEventListener("pointerdown", (event) => this.#scrub(event));
    element.addEventListener("keydown", (event) => {
      const step = { ArrowRight: STEP_S, ArrowLeft: -STEP_S }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      seek(this.now + step);
    });
  }

  show({ words, phases, meaning, seconds, samples }) {
    Object.assign(this, { words: words ?? [], phases, meaning, seconds, samples, now: 0 });
    this.part("track").style.width = `max(100%, ${Math.round(seconds * PIXELS_A_SECOND)}px)`;
    const timed = this.words.filter((word) => word.start_s !== null);
    this.spans = timed.map((word) => {
      const span = document.createElement("span");
      span.textContent = word.word;
      span.title = word.word;
      place(span, word.start_s, word.end_s, seconds);
      span.classList.toggle("meant", Boolean(phases) && overlaps(word, phases));
      return { span, ...word };
    });
    this.part("words").replaceChildren(...this.spans.map(({ span }) => span));
    this.part("words").hidden = !timed.length;
    this.part("gesture").hidden = !phases;
    if (phases) {
      const ends = [phases.start_s, phases.stroke_s, phases.hold_s, phases.retraction_s, phases.end_s];
      [...this.part("gesture").children].forEach((bar, i) => place(bar, ends[i], ends[i + 1], seconds));
    }
    this.part("wave").hidden = !samples && !meaning;
    this.#drawWave();
    this.at(0);
  }

  at(seconds) {
    this.now = seconds;
    const share = Math.min(1, this.seconds ? seconds / this.seconds : 0);
    this.part("head").style.left = `${100 * share}%`;
    const { scrollWidth, clientWidth } = this.element;
    if (scrollWidth > clientWidth && !this.scrubbing) {
      this.element.scrollLeft = share * scrollWidth - clientWidth / 2;
    }
    this.element.ariaValueNow = seconds.toFixed(1);
    this.element.ariaValueMax = this.seconds.toFixed(1);
    for (const { span, start_s, end_s } of this.spans ?? []) {
      span.classList.toggle("now", start_s <= seconds && seconds < end_s);
    }
  }

  /** Loudness as bars; above them how much a generator means each moment. */
  #drawWave() {
    const canvas = this.part("wave");
    if (canvas.hidden || !canvas.clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    if (this.samples) {
      pen.fillStyle = style.getPropertyValue("--wave");
      const bars = Math.floor(width / 3);
      const each = this.samples.length / bars;
      const heights = Array.from({ length: bars }, (_, bar) => {
        let most = 0;
        const end = Math.min(this.samples.length, (bar + 1) * each); // which may be rounded up
        for (let i = Math.floor(bar * each); i < end; i++) {
          most = Math.max(most, Math.abs(this.samples[i]));
        }
        return most;
      });
      const loudest = Math.max(0.02, ...heights);
      heights.forEach((most, bar) => {
        const high = Math.max(1, (most / loudest) * height * 0.9);
        pen.fillRect(bar * 3, (height - high) / 2, 2, high);
      });
    }
    if (this.meaning) {
      pen.strokeStyle = style.getPropertyValue("--accent");
      pen.lineWidth = 1.5;
      pen.beginPath();
      this.meaning.forEach((value, frame) => {
        pen.lineTo((frame / this.meaning.length) * width, height - 1 - value * (height - 2));
      });
      pen.stroke();
    }
  }

  #scrub(down) {
    if (!this.seconds) return;
    down.preventDefault();
    this.element.focus();
    this.element.setPointerCapture(down.pointerId);
    const move = (event) => {
      const box = this.part("track").getBoundingClientRect();
      this.seek(((event.clientX - box.left) / box.width) * this.seconds);
    };
    this.scrubbing = true;
    move(down);
    const over = () => {
      this.scrubbing = false;
      this.element.removeEventListener("pointermove", move);
    };
    this.element.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) {
      this.element.addEventListener(end, over, { once: true });
    }
  }
}

function place(bar, from, to, seconds) {
  const [left, right] = [from, to].map((time) => 100 * Math.min(1, Math.max(0, time / seconds)));
  bar.style.left = `${left}%`;
  bar.style.width = `${Math.max(0, right - left)}%`;
}

/** Whether a word is said during the stroke or its hold. */
function overlaps(word, phases) {
  return word.start_s < phases.retraction_s && word.end_s > phases.stroke_s;
}
