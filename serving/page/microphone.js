// What is said into the microphone, as PCM16 at 16 kHz.

export const RATE = 16000;

/** Calls `heard(Int16Array)` ten times a second until `stop()`; fails where nobody allows it. */
export async function microphone(heard) {
  if (!navigator.mediaDevices) {
    throw new Error("a browser gives the microphone only to https:// and this machine");
  }
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  await context.audioWorklet.addModule("capture.js");
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  capture.port.onmessage = ({ data }) => heard(data);
  context.createMediaStreamSource(stream).connect(capture);
  return {
    stop() {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}

/** Pieces of PCM16 as a WAV file. */
export function wav(pieces) {
  const bytes = 2 * pieces.reduce((sum, piece) => sum + piece.length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, RATE, true);
  header.setUint32(28, 2 * RATE, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...pieces], { type: "audio/wav" });
}
