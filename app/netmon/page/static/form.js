// The form for adding and editing a target: converts fields to the JSON of the settings.
import { NEW_HEARTBEAT, write } from "./api.js";
import { handle } from "./forms.js";

const form = document.getElementById("settings");
const target = form.dataset.target;
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** The object of lines "Name: value". */
function pairs(text) {
  return Object.fromEntries(
    lines(text).map((line) => {
      const colon = line.indexOf(":");
      return colon < 0 ? [line, ""] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    }),
  );
}

const PARSERS = {
  number: (text) => (text === "" ? null : Number(text)),
  numbers: (text) => text.split(/[\s,]+/).filter(Boolean).map((each) => (Number.isNaN(Number(each)) ? each : Number(each))),
  text: (text) => text || null,
  raw: (text) => text || null,
  choice: (text) => (text === "any" ? null : text),
  "choice-number": (text) => (text === "any" ? null : Number(text)),
  words: (text) => text.split(/[\s,]+/).filter(Boolean),
  lines,
  headers: pairs,
  limits: (text) => Object.fromEntries(Object.entries(pairs(text)).map(([name, value]) => [name, Number(value) || value])),
};

/** The fields of the chosen kind, whose ids are paths; the style sheet hides the others. */
function fields() {
  const kind = form.elements["spec/kind"].value;
  const other = `[data-kind]:not([data-kind=${kind}])${kind === "heartbeat" ? ", [data-probed]" : ""}`;
  return [...form.elements].filter((element) => element.id && !element.closest(other));
}

function settings() {
  const kind = form.elements["spec/kind"].value;
  const body = { enabled: form.elements.enabled.checked, spec: { kind } };
  for (const field of fields()) {
    // The body of a request is sent as it was typed.
    const text = field.dataset.as === "raw" ? field.value : field.value.trim();
    const value = PARSERS[field.dataset.as]?.(text) ?? (field.dataset.as ? null : text);
    const key = field.name.split("/").at(-1);
    if (field.name.startsWith("spec/")) body.spec[key] = value;
    else body[key] = value;
  }
  return body;
}

const thresholds = [form.elements.failures, form.elements.window];
const [every, scheduled] = [form.querySelector("[for=interval_seconds]"), form.querySelector(".check span")];
const labels = [every.textContent, scheduled.textContent];

/** Name what the chosen kind does, and let a single missing heartbeat count, unless the user has decided otherwise. */
function follow() {
  const reports = form.elements["spec/kind"].value === "heartbeat";
  [every.textContent, scheduled.textContent] = reports ? ["Expected every", "Expect heartbeats"] : labels;
  const untouched = thresholds.every((field) => field.value === (field.dataset.suggested ?? field.defaultValue));
  if (target || !untouched) return;
  for (const field of thresholds) field.value = field.dataset.suggested = reports ? "1" : field.defaultValue;
}

form.addEventListener("change", ({ target: changed }) => changed.name === "spec/kind" && follow());
follow();

handle(form, fields, async () => {
  const saved = target ? await write("PATCH", `/api/targets/${target}`, settings()) : await write("POST", "/api/targets", settings());
  if (!target && saved.spec.kind === "heartbeat") sessionStorage.setItem(NEW_HEARTBEAT, saved.id);
  return `/targets/${saved.id}`;
});
