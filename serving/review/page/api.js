// What the page asks of its server. A refusal is an Error with the server's words.

async function ask(method, path, value) {
  const response = await fetch(`/api/${path}`, {
    method,
    headers: value === undefined ? {} : { "Content-Type": "application/json" },
    body: value === undefined ? undefined : JSON.stringify(value),
  }).catch(() => {
    throw new Error("The server does not answer: is `gestray anchors review` still running?");
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.problem ?? `The server refuses it (${response.status}).`);
}

const json = async (...what) => (await ask(...what)).json();

export const session = () => json("GET", "session");
export const anchor = (number) => json("GET", `anchors/${number}`);
export const decide = (number, proposal) => json("PUT", `anchors/${number}`, proposal);
export const withdraw = (number) => json("DELETE", `anchors/${number}`);
export const sentence = async (form) => (await json("POST", "sentence", form)).sentence;

export async function motion(number) {
  const response = await ask("GET", `anchors/${number}/motion`);
  return response.status === 204 ? null : response.arrayBuffer();
}
