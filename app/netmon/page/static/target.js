// The page of one target: its plot and its buttons.
import { Cancelled, NEW_HEARTBEAT, inDialog, notify, read, write } from "./api.js";
import { refresh } from "./live.js";

const id = document.getElementById("target").dataset.target;
const box = document.getElementById("plot");
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const figure = (ms) =>
  ms == null ? "–" : ms === 0 ? "0 ms" : ms < 10 ? `${ms.toFixed(1)} ms` : ms < 999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
let plot;
let series;

/** The width of the plot: that of its box, without the padding. */
function inner() {
  const { paddingLeft, paddingRight } = getComputedStyle(box);
  return Math.floor(box.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
}

/** Draw failed results as triangles at the bottom of the plot. */
function drawFailures(u) {
  const { ctx, bbox } = u;
  const size = 5 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = colour("down");
  series.failed.forEach((failed, index) => {
    if (!failed) return;
    const x = u.valToPos(series.at[index], "x", true);
    const y = bbox.top + bbox.height;
    ctx.beginPath();
    ctx.moveTo(x, y - 2 * size);
    ctx.lineTo(x - size, y);
    ctx.lineTo(x + size, y);
    ctx.fill();
  });
  ctx.restore();
}

function draw() {
  plot?.destroy();
  box.replaceChildren();
  if (!series.at.length) {
    box.textContent = "No results in this time range yet.";
    box.removeAttribute("role");
    return;
  }
  const single = series.step_seconds === 0;
  const failed = series.failed.reduce((sum, each) => sum + each, 0);
  const highest = Math.max(...series.p95_ms.map((each) => each ?? 0));
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `Latency over ${series.span}: at most ${figure(highest)}, ${failed} results failed`);
  const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const line = (label, name, extra) => ({
    label,
    stroke: colour(name),
    width: 1.5,
    points: { show: series.at.length < 60, size: 5 },
    value: (_, value) => figure(value),
    ...extra,
  });
  const lines = single
    ? [line("Latency", "accent", { fill: colour("wash") })]
    : [line("Median", "accent", { fill: colour("wash") }), line("95th percentile", "second", { dash: [4, 4] })];
  const count = { label: "Failed", scale: "count", stroke: colour("down"), paths: () => null, points: { show: false }, value: (_, value) => value ?? "–" };
  plot = new uPlot(
    {
      width: inner(),
      height: 260,
      series: [{ label: "Time", value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" }, ...lines, count],
      scales: { x: { range: () => [series.start, series.end] }, y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] }, count: { range: [0, 1] } },
      axes: [
        { ...axis, space: 70, values: [
          [86400, "{MMM} {D}", null, null, null, null, null, null, 1],
          [3600, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
          [60, "{HH}:{mm}", null, null, "\n{MMM} {D}", null, null, null, 1],
          [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
        ] },
        { ...axis, size: 62, values: (_, values) => values.map(figure) },
      ],
      padding: [16, 24, 0, 0],
      cursor: { y: false, drag: { x: false, y: false } },
      hooks: { draw: [drawFailures] },
    },
    single ? [series.at, series.p50_ms, series.failed] : [series.at, series.p50_ms, series.p95_ms, series.failed],
    box,
  );
}

async function show() {
  const span = box.dataset.chosen;
  try {
    const response = await read(`/api/targets/${id}/series?span=${span}`);
    if (span !== box.dataset.chosen) return; // another span was chosen meanwhile
    series = response;
    draw();
  } catch (error) {
    if (!plot) box.textContent = `Cannot draw the plot: ${error.message}`;
  }
}

document.querySelector(".spans").addEventListener("click", (event) => {
  const link = event.target.closest("[data-span]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  box.dataset.chosen = link.dataset.span;
  document.querySelector(".spans [aria-current]")?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  history.replaceState(null, "", link.href);
  show();
});
dark.addEventListener("change", () => series && draw());
new ResizeObserver(() => plot && plot.width !== inner() && plot.setSize({ width: inner(), height: 260 })).observe(box);
setInterval(() => document.hidden || show(), 15000);
show();

async function resultOf(probe) {
  for (let waited = 0; waited < 60; waited += 1) {
    const result = await read(`/api/probes/${probe.id}`);
    if (result.status !== "queued") return result;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error("The probe was accepted, but has no result after 30 s.");
}

/** Create the URL of a heartbeat target and show it, until the dialog is closed. */
async function createUrl() {
  const { path } = await write("POST", `/api/targets/${id}/heartbeat-url`);
  const url = location.origin + path;
  const [dialog, shown, command] = ["heartbeat", "heartbeat-url", "heartbeat-curl"].map((name) => document.getElementById(name));
  shown.textContent = url;
  command.textContent = `curl -fsS -m 10 --retry 5 -o /dev/null ${url}\ncurl -fsS -m 10 --retry 5 -o /dev/null -G --data-urlencode "message=REASON" ${url}/fail`;
  await inDialog(dialog, async () => {}).catch(() => {}); // there is nothing to cancel
  shown.textContent = command.textContent = "";
}

const actions = {
  async heartbeat() {
    await inDialog(document.getElementById("renew"), async () => {});
    await createUrl();
  },
  async probe() {
    notify("Probing …");
    const result = await resultOf(await write("POST", `/api/targets/${id}/probes`));
    const failed = result.status === "failed";
    notify(failed ? `Failed: ${result.detail ?? result.error}` : `Succeeded in ${figure(result.duration_ms)}`, failed);
    show();
  },
  async pause() {
    await write("PATCH", `/api/targets/${id}`, { enabled: false });
    notify("Paused: scheduled probes are off.");
  },
  async resume() {
    await write("PATCH", `/api/targets/${id}`, { enabled: true });
    notify("Resumed.");
  },
  async delete() {
    await inDialog(document.getElementById("delete"), async () => {});
    await write("DELETE", `/api/targets/${id}`);
    location.assign("/");
    return new Promise(() => {}); // no refresh: the page is being left
  },
};

document.addEventListener("click", async (event) => {
  const copied = document.getElementById(event.target.closest("[data-copy]")?.dataset.copy);
  if (!copied) return;
  getSelection().selectAllChildren(copied); // to be copied by hand, where pages must not write to the clipboard
  await navigator.clipboard?.writeText(copied.textContent).catch(() => {});
});

if (sessionStorage.getItem(NEW_HEARTBEAT) === id) {
  sessionStorage.removeItem(NEW_HEARTBEAT);
  createUrl().catch((error) => error instanceof Cancelled || notify(error.message, true));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-action]");
  if (!button || button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  try {
    await actions[button.dataset.action]();
    await refresh();
  } catch (error) {
    if (error.status === 429) notify(`Rate limit exceeded: retry in ${error.retryAfter ?? "some"} s.`, true);
    else if (!(error instanceof Cancelled)) notify(error.message, true);
  } finally {
    button.removeAttribute("aria-busy");
  }
});
