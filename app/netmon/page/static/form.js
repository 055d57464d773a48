// The form for adding and editing: converts fields to the JSON of the settings, and shows errors of the API at their fields.
import { Cancelled, write } from "./api.js";

const form = document.getElementById("settings");
const target = form.dataset.target;
const summary = document.getElementById("form-error");
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

const PARSERS = {
  number: (text) => (text === "" ? null : Number(text)),
  numbers: (text) => text.split(/[\s,]+/).filter(Boolean).map((each) => (Number.isNaN(Number(each)) ? each : Number(each))),
  text: (text) => text || null,
  words: (text) => text.split(/[\s,]+/).filter(Boolean),
  lines,
  headers: (text) =>
    Object.fromEntries(
      lines(text).map((line) => {
        const colon = line.indexOf(":");
        return colon < 0 ? [line, ""] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
      }),
    ),
};

/** The visible fields, whose ids are paths; the style sheet hides the fields of other kinds. */
function fields() {
  const other = `[data-kind]:not([data-kind=${form.elements["spec/kind"].value}])`;
  return [...form.elements].filter((element) => element.id && !element.closest(other));
}

function settings() {
  const kind = form.elements["spec/kind"].value;
  const body = { enabled: form.elements.enabled.checked, spec: { kind } };
  for (const field of fields()) {
    const value = PARSERS[field.dataset.as]?.(field.value.trim()) ?? (field.dataset.as ? null : field.value.trim());
    const key = field.name.split("/").at(-1);
    if (field.name.startsWith("spec/")) body.spec[key] = value;
    else body[key] = value;
  }
  return body;
}

function showError(field, message) {
  field.closest(".field").querySelector(".error").textContent = message;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

function clear() {
  summary.textContent = "";
  for (const field of form.elements) if (field.id) showError(field, "");
}

/** Show each error of a problem at the field whose name is a prefix of its path, otherwise above the form. */
function showErrors(error) {
  const rest = [];
  for (const { at, message } of error.problem?.errors ?? []) {
    const path = at.replace(/^body\/?/, "");
    const field = fields().find(({ name }) => path === name || path.startsWith(`${name}/`));
    const text = message.replace(/^Value error, /, "");
    if (field) showError(field, text);
    else rest.push(text);
  }
  if (error.status === 409) showError(form.elements.name, error.message);
  else if (!error.problem?.errors) rest.push(error.message);
  summary.textContent = rest.join(" ");
  (form.querySelector("[aria-invalid]") ?? summary).focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear();
  for (const field of fields()) if (!field.checkValidity()) showError(field, field.validationMessage);
  const invalid = form.querySelector("[aria-invalid]");
  if (invalid) return invalid.focus();
  event.submitter?.setAttribute("aria-busy", "true");
  try {
    const saved = target ? await write("PATCH", `/api/targets/${target}`, settings()) : await write("POST", "/api/targets", settings());
    location.assign(`/targets/${saved.id}`);
  } catch (error) {
    if (!(error instanceof Cancelled)) showErrors(error);
  } finally {
    event.submitter?.removeAttribute("aria-busy");
  }
});
