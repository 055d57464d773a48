// Adding and editing: fields become the JSON of the settings, errors of the API stand at their fields.
import { Cancelled, write } from "./api.js";

const form = document.getElementById("settings");
const target = form.dataset.target;
const summary = document.getElementById("form-error");
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

const READERS = {
  number: (text) => (text === "" ? null : Number(text)),
  numbers: (text) => text.split(/[\s,]+/).filter(Boolean).map((each) => (Number.isNaN(Number(each)) ? each : Number(each))),
  text: (text) => text || null,
  lines,
  headers: (text) =>
    Object.fromEntries(
      lines(text).map((line) => {
        const colon = line.indexOf(":");
        return colon < 0 ? [line, ""] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
      }),
    ),
};

/** The fields that are shown: each has its path as its id; the style sheet hides those of other kinds. */
function fields() {
  const other = `[data-kind]:not([data-kind=${form.elements["spec/kind"].value}])`;
  return [...form.elements].filter((element) => element.id && !element.closest(other));
}

function settings() {
  const kind = form.elements["spec/kind"].value;
  const body = { enabled: form.elements.enabled.checked, spec: { kind } };
  for (const field of fields()) {
    const value = READERS[field.dataset.as]?.(field.value.trim()) ?? (field.dataset.as ? null : field.value.trim());
    const key = field.name.split("/").at(-1);
    if (field.name.startsWith("spec/")) body.spec[key] = value;
    else body[key] = value;
  }
  return body;
}

function complain(field, message) {
  field.closest(".field").querySelector(".error").textContent = message;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

function clear() {
  summary.textContent = "";
  for (const field of form.elements) if (field.id) complain(field, "");
}

/** Put each error of a problem where it belongs: at the field whose name begins its place, else above the form. */
function explain(error) {
  const rest = [];
  for (const { at, message } of error.problem?.errors ?? []) {
    const place = at.replace(/^body\/?/, "");
    const field = fields().find(({ name }) => place === name || place.startsWith(`${name}/`));
    const words = message.replace(/^Value error, /, "");
    if (field) complain(field, words);
    else rest.push(words);
  }
  if (error.status === 409) complain(form.elements.name, error.message);
  else if (!error.problem?.errors) rest.push(error.message);
  summary.textContent = rest.join(" ");
  (form.querySelector("[aria-invalid]") ?? summary).focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear();
  for (const field of fields()) if (!field.checkValidity()) complain(field, field.validationMessage);
  const wrong = form.querySelector("[aria-invalid]");
  if (wrong) return wrong.focus();
  event.submitter?.setAttribute("aria-busy", "true");
  try {
    const saved = target ? await write("PATCH", `/api/targets/${target}`, settings()) : await write("POST", "/api/targets", settings());
    location.assign(`/targets/${saved.id}`);
  } catch (error) {
    if (!(error instanceof Cancelled)) explain(error);
  } finally {
    event.submitter?.removeAttribute("aria-busy");
  }
});
