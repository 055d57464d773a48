// A client of the JSON API. The token for write access is requested once and kept until the tab is closed.
const KEY = "netmon-token";
/** The id of a heartbeat target that was added a moment ago, whose page shows its URL. */
export const NEW_HEARTBEAT = "netmon-new-heartbeat";

/** An error response of the API; `problem` is its body (RFC 9457). */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The API responded with status ${status}.`);
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The user cancelled a dialog. */
export class Cancelled extends Error {}

async function request(method, path, body, token) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("The Network Monitor does not respond. Check that it is running and that you are online.");
  }
  const text = await response.text();
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    content = {}; // an error page of a proxy
  }
  if (!response.ok) throw new ApiError(response.status, content ?? {}, response.headers.get("Retry-After"));
  return content;
}

export const read = (path) => request("GET", path);

/** Send a write request; prompts for the token if none is kept or the kept one is invalid. */
export async function write(method, path, body) {
  let reason = "";
  for (;;) {
    const token = sessionStorage.getItem(KEY) ?? (await promptForToken(reason));
    try {
      return await request(method, path, body, token);
    } catch (error) {
      if (error.status !== 401) throw error;
      sessionStorage.removeItem(KEY);
      reason = "The token is no longer accepted.";
    }
  }
}

/** Open a dialog with a form; returns the result of `submit(form)`. If `submit` throws, it has shown the error in the form. */
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
        // The form shows the error and stays open.
      } finally {
        if (button) button.disabled = false;
      }
    });
    dialog.showModal();
  });
}

function promptForToken(reason) {
  const dialog = document.getElementById("token");
  const [input, error] = [dialog.querySelector("input"), dialog.querySelector(".error")];
  input.value = "";
  error.textContent = reason;
  return inDialog(dialog, async () => {
    const token = input.value.trim();
    try {
      await request("GET", "/api/access", undefined, token);
    } catch (failure) {
      error.textContent = failure.status === 401 ? "This token is not accepted." : failure.message;
      input.select();
      throw failure;
    }
    sessionStorage.setItem(KEY, token);
    return token;
  });
}

let hiding;
/** Show a notice for some seconds. */
export function notify(text, failed = false) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.classList.toggle("failed", failed);
  notice.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (notice.hidden = true), failed ? 12000 : 6000);
}
