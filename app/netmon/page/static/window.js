// The form for adding and editing a maintenance window.
import { write } from "./api.js";
import { handle } from "./forms.js";

const form = document.getElementById("window");
const { window: id, target, done } = form.dataset;
const field = (path) => document.getElementById(path);
const days = () => [...form.querySelectorAll("[name='weekly/days']:checked")].map(({ value }) => value);

/** A time as the value of a field, in the local time zone. */
function local(time) {
  const two = (number) => String(number).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}T${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** The time of a field: the stored one, which may have seconds, unless it was edited. */
function instant({ value, dataset }) {
  const stored = dataset.time && new Date(dataset.time);
  return (stored && local(stored) === value ? stored : new Date(value)).toISOString();
}

const kind = () => form.elements.schedule.value;
const fields = () => [...form.elements].filter((element) => element.id && !element.closest(`[data-kind]:not([data-kind=${kind()}])`));

function settings() {
  const scope = target ? { target } : { tag: field("tag").value.trim() };
  const common = { name: field("name").value.trim(), ...scope };
  if (kind() === "once") {
    return { ...common, once: { starts_at: instant(field("once/starts_at")), ends_at: instant(field("once/ends_at")) } };
  }
  const [start, minutes, timezone] = ["start", "minutes", "timezone"].map((name) => field(`weekly/${name}`).value.trim());
  return { ...common, weekly: { days: days(), start, minutes: Number(minutes), timezone } };
}

const now = new Date();
for (const [path, hours] of [["once/starts_at", 0], ["once/ends_at", 1]]) {
  const input = field(path);
  input.value = local(input.dataset.time ? new Date(input.dataset.time) : new Date(now.getTime() + hours * 3_600_000));
}
const zone = field("weekly/timezone");
if (!zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
field("zones").append(...Intl.supportedValuesOf("timeZone").map((name) => new Option(name, name)));

function requireDay() {
  field("weekly/days").setCustomValidity(days().length ? "" : "Choose at least one day.");
}
form.addEventListener("change", requireDay);
requireDay();

handle(form, fields, async () => {
  if (id) await write("PUT", `/api/maintenance/${id}`, settings());
  else await write("POST", "/api/maintenance", settings());
  return done;
});
