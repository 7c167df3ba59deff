// A client of API v1 for browsers. The key comes with the page's address, behind the `#`, where
// no server sees it, and stays in this tab.

const KEEP = "gestray-key";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Gestray {
  constructor(key, base = "") {
    this.base = base;
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
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ text, k, model });
    return this.#json("/v1/retrieve", { method: "POST", headers, body, signal });
  }

  clip(id, model, signal) {
    return this.#json(this.#path(id, "", model), { signal });
  }

  async motion(id, model, signal) {
    return (await this.#ask(this.#path(id, "/motion", model), { signal })).arrayBuffer();
  }

  async sound(id, model, signal) {
    return (await this.#ask(this.#path(id, "/audio", model), { signal })).blob();
  }

  #path(id, part, model) {
    const query = model ? `?model=${encodeURIComponent(model)}` : "";
    return `/v1/clips/${encodeURIComponent(id)}${part}${query}`;
  }

  async #json(path, options) {
    return (await this.#ask(path, options)).json();
  }

  /** Asks again, once, where the server is only busy. */
  async #ask(path, options, again = true) {
    const headers = { ...options.headers, ...this.headers };
    const response = await fetch(this.base + path, { ...options, headers });
    if (response.ok) return response;
    if (again && [429, 503].includes(response.status)) {
      const wait = Number(response.headers.get("retry-after") ?? 1);
      await new Promise((done) => setTimeout(done, 1000 * Math.min(wait, 5)));
      return this.#ask(path, options, false);
    }
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem.detail ?? response.statusText);
  }
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
