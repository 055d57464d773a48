// What all forms have in common: errors of the API are shown at their fields, whose ids are the paths of their values.
import { Cancelled } from "./api.js";

/** Handle a form: `fields()` are its visible fields, `save()` sends it and returns the URL of the page to show next. */
export function handle(form, fields, save) {
  const summary = document.getElementById("form-error");

  function showError(field, message) {
    field.closest(".field").querySelector(".error").textContent = message;
    if (message) {
      field.setAttribute("aria-invalid", "true");
      field.closest("details")?.setAttribute("open", "");
    } else field.removeAttribute("aria-invalid");
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
      location.assign(await save());
    } catch (error) {
      if (!(error instanceof Cancelled)) showErrors(error);
    } finally {
      event.submitter?.removeAttribute("aria-busy");
    }
  });
}
