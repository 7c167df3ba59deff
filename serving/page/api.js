// A client of API v1 for browsers. The key comes with the page's address, behind the `#`, where
// no server sees it, and stays in this tab.

const KEEP = "gestray-key";
const BUSY = [429, 503];

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Gestray {
  constructor(key, base = "") {
    this.base = base;
    this.key = key;
    this.headers = key ? { authorization: `Bearer ${key}` } : {};
  }

  models(signal) {
    return this.#json("/v1/models", { signal });
  }

  /** How joints make a figure. */
  skeleton(signal) {
    return this.#json("/v1/skeleton", { signal });
  }

  /** Gestures that say `text`, best first, and the artifacts they come from. */
  retrieve({ text, k = 6, model }, signal) {
    return this.#json("/v1/retrieve", { ...posted({ text, k, model }), signal });
  }

  /** A motion for a text, which the server speaks. */
  generate(asked, signal) {
    return this.#json("/v1/generate", { ...posted(asked), signal });
  }

  /** A motion for a recording, a file or blob; `fields` as of `generate`, and `transcript`. */
  generateFor(audio, fields, signal) {
    const body = new FormData();
    body.append("audio", audio, audio.name ?? "recording.wav");
    for (const [name, value] of Object.entries(fields)) {
      if (value !== null && value !== "") body.append(name, value);
    }
    return this.#json("/v1/generate", { method: "POST", body, signal });
  }

  clip(id, model, signal) {
    return this.#json(clipPath(id, "", model), { signal });
  }

  /** How joints are turned, for `unpackTurns`: of a clip or of a generated motion. */
  async turns(of, signal) {
    return (await this.#ask(path(of, "/turns"), { signal })).arrayBuffer();
  }

  async sound(of, signal) {
    return (await this.#ask(path(of, "/audio"), { signal })).blob();
  }

  /** A file of it, such as `glb`. */
  async file(of, kind, signal) {
    const found = of.clip ? clipPath(of.clip, `/export.${kind}`, of.model) : `/v1/motions/${of.motion}.${kind}`;
    return (await this.#ask(found, { signal })).blob();
  }

  /** A socket to stream over; see serving.md for what is said on it. */
  stream() {
    const url = new URL(`${this.base}/v1/generate/stream`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, ["gestray.v1", ...(this.key ? [`gestray.key.${this.key}`] : [])]);
    socket.binaryType = "arraybuffer";
    return socket;
  }

  async #json(where, options) {
    return (await this.#ask(where, options)).json();
  }

  /** Asks again, once, where the server is only busy. */
  async #ask(where, options, again = true) {
    const headers = { ...options.headers, ...this.headers };
    const response = await fetch(this.base + where, { ...options, headers });
    if (response.ok) return response;
    if (again && BUSY.includes(response.status)) {
      const wait = Number(response.headers.get("retry-after") ?? 1);
      await new Promise((done) => setTimeout(done, 1000 * Math.min(wait, 5)));
      return this.#ask(where, options, false);
    }
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem.detail ?? response.statusText);
  }
}

function posted(values) {
  const headers = { "content-type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(values) };
}

/** Of a clip, `{clip, model}`, or of a generated motion, `{motion}`. */
function path(of, part) {
  return of.clip ? clipPath(of.clip, part, of.model) : `/v1/motions/${of.motion}${part}`;
}

function clipPath(id, part, model) {
  const query = model ? `?model=${encodeURIComponent(model)}` : "";
  return `/v1/clips/${encodeURIComponent(id)}${part}${query}`;
}

/** The key in the address, which is then cleared of it, or the one this tab had. */
export function keyOfPage() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEEP, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given ?? sessionStorage.getItem(KEEP);
}
