// Every page: refreshes its content while its tab is visible, and shows times in the local time zone.
const INTERVAL = 5000; // milliseconds
const TYPING = 200; // milliseconds without a keystroke, after which a search starts
const main = document.getElementById("main");
let timer;
let wait = INTERVAL;
let request = new AbortController();

function localise(root) {
  const format = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  for (const time of root.querySelectorAll("time[data-local]")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

/** Turn `old` into `fresh` with minimal changes, so that focus, selection and scroll position are preserved. */
function morph(old, fresh) {
  if (old.isEqualNode(fresh) || old.dataset?.keep !== undefined) return;
  if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return void old.replaceWith(document.importNode(fresh, true));
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.nodeValue = fresh.nodeValue);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let cursor = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id ? known.get(child.id) : cursor && !cursor.id && cursor.nodeName === child.nodeName && cursor;
    if (!same) {
      old.insertBefore(document.importNode(child, true), cursor);
      continue;
    }
    if (same === cursor) cursor = cursor.nextSibling;
    else old.insertBefore(same, cursor);
    morph(same, child);
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

function freshness(text, outdated) {
  const element = document.getElementById("freshness");
  element.textContent = text;
  element.classList.toggle("outdated", outdated);
}

/** Fetch this page again and apply the differences. */
export async function refresh() {
  clearTimeout(timer);
  request.abort(); // the response may be to an earlier search
  const { signal } = (request = new AbortController());
  const started = performance.now();
  const now = new Date().toLocaleTimeString();
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, signal });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const content = fresh.getElementById("main");
    // A temporary error keeps the current content; a target that was deleted elsewhere does not.
    if (!content || (response.status >= 500 && !main.querySelector(".message"))) throw new Error(response.status);
    localise(content);
    const focused = document.activeElement;
    morph(main, content);
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    freshness(fresh.getElementById("freshness").textContent, false);
  } catch {
    if (signal.aborted) return;
    freshness(`No response at ${now}: showing older data`, true);
  }
  // A page that takes long, because it is large or the network is slow, is requested less often.
  wait = Math.max(INTERVAL, 10 * (performance.now() - started));
  schedule();
}

/** Show the targets that match, under the URL of the search. */
function search(form) {
  const entries = [...new FormData(form)].filter(([, value]) => value.trim());
  history.replaceState(null, "", `/?${new URLSearchParams(entries)}`);
  clearTimeout(timer);
  timer = setTimeout(refresh, TYPING);
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, wait);
}

localise(document);
document.addEventListener("input", ({ target }) => target.id === "search" && search(target.form));
if (main.dataset.live !== undefined) {
  schedule();
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
}
