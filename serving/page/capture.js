// Beside the page, where sound is: means of what is heard, at 16 kHz, a tenth of a second at a time.

const RATE = 16000;
const PIECE = RATE / 10;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    Object.assign(this, { phase: 0, sum: 0, count: 0, piece: new Int16Array(PIECE), filled: 0 });
  }

  process([[heard]]) {
    for (const sample of heard ?? []) {
      this.sum += sample;
      this.count += 1;
      this.phase += RATE / sampleRate;
      if (this.phase < 1) continue;
      const mean = Math.max(-1, Math.min(1, this.sum / this.count));
      this.piece[this.filled++] = Math.round(32767 * mean);
      this.phase -= 1;
      this.sum = this.count = 0;
      if (this.filled < PIECE) continue;
      this.port.postMessage(this.piece.slice());
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
