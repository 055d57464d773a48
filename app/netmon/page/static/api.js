// The JSON API, and the token that whoever writes must show: asked for once, kept for as long as this tab lives.
const KEY = "netmon-token";

/** An answer of the API that says no; `problem` is its body (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The API answered with status ${status}.`);
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The person who was asked does not want to. */
export class Cancelled extends Error {}

async function ask(method, path, body, token) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("The Network Monitor does not answer. Is it running, and are you connected?");
  }
  const text = await answer.text();
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    content = {}; // a proxy's own page
  }
  if (!answer.ok) throw new Refused(answer.status, content ?? {}, answer.headers.get("Retry-After"));
  return content;
}

export const read = (path) => ask("GET", path);

/** Change something; the token is asked for where none is known or the known one is wrong. */
export async function write(method, path, body) {
  let complaint = "";
  for (;;) {
    const token = sessionStorage.getItem(KEY) ?? (await askForToken(complaint));
    try {
      return await ask(method, path, body, token);
    } catch (error) {
      if (error.status !== 401) throw error;
      sessionStorage.removeItem(KEY);
      complaint = "The token is no longer accepted.";
    }
  }
}

/** Open a dialog with a form. `submit` gets the form; what it returns is the result, what it throws is for it to show. */
export function inDialog(dialog, submit) {
  const form = dialog.querySelector("form");
  const controller = new AbortController();
  return new Promise((resolve, reject) => {
    const on = (element, event, listener) => element.addEventListener(event, listener, { signal: controller.signal });
    on(dialog, "close", () => {
      controller.abort();
      reject(new Cancelled());
    });
    on(form.querySelector("[data-cancel]"), "click", () => dialog.close());
    on(form, "submit", async (event) => {
      event.preventDefault();
      const button = event.submitter;
      if (button) button.disabled = true;
      try {
        resolve(await submit(form));
        dialog.close();
      } catch {
        // The form says why, and stays.
      } finally {
        if (button) button.disabled = false;
      }
    });
    dialog.showModal();
  });
}

function askForToken(complaint) {
  const dialog = document.getElementById("token");
  const [input, error] = [dialog.querySelector("input"), dialog.querySelector(".error")];
  input.value = "";
  error.textContent = complaint;
  return inDialog(dialog, async () => {
    const token = input.value.trim();
    try {
      await ask("GET", "/api/access", undefined, token);
    } catch (refused) {
      error.textContent = refused.status === 401 ? "This token is not accepted." : refused.message;
      input.select();
      throw refused;
    }
    sessionStorage.setItem(KEY, token);
    return token;
  });
}

let hiding;
/** Say what happened, for some seconds. */
export function notify(text, failed = false) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.classList.toggle("failed", failed);
  notice.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (notice.hidden = true), failed ? 12000 : 6000);
}
