// The page of maintenance windows: deletes a window after confirmation.
import { Cancelled, inDialog, notify, write } from "./api.js";
import { refresh } from "./live.js";

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-delete]");
  if (!button || button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  try {
    document.getElementById("delete-title").textContent = `Delete “${button.dataset.name}”?`;
    await inDialog(document.getElementById("delete"), async () => {});
    await write("DELETE", `/api/maintenance/${button.dataset.delete}`);
    notify("Deleted.");
    await refresh();
  } catch (error) {
    if (!(error instanceof Cancelled)) notify(error.message, true);
  } finally {
    button.removeAttribute("aria-busy");
  }
});
