"""Take the pictures of docs/tour.md: `python -m docs.images.tour` runs its commands on a stack of its own.

It needs what `nox -s live` needs, the local images, a browser, and no container called shop.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from rich.text import Text

from docs.images.terminal import draw
from tests.live.browser import Visitor, chromium
from tests.live.documents import code_block, run
from tests.live.stack import Stack, until

HERE = Path(__file__).resolve().parent
PAGE = "docs/tour.md"
ALERT = "MonitoredTargetDown"
WINDOW = (1280, 620)
COLUMNS = 120
RESULTS = 12
"""Successful results before the target goes down."""
BAR = 48
"""Columns of the longest bar of a trace."""


def main() -> None:
    """Write tour-*.png and tour-*.svg beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.create(Path(folder) / "checkout", "netmon-tour")
        try:
            stack.invoke("up", "--images=local")
            until(lambda: firing(stack) == {"Watchdog"}, 120, "the alerts of the start to resolve")
            take(stack)
        finally:
            stack.destroy()


def take(stack: Stack) -> None:
    """Follow the page, and take a picture where it has one."""
    start, stop = (code_block(stack, PAGE, "sh", words) for words in ("--name shop", "docker stop"))
    run(stack, start)
    target = json.loads(run(stack, code_block(stack, PAGE, "sh", "/api/targets")))["id"]
    until(lambda: results(stack, target) >= RESULTS, 120, "successful probes")
    run(stack, stop)
    until(lambda: ALERT in firing(stack), 60, "the alert")
    with chromium() as browser:
        visitor = Visitor(browser, stack.url(), WINDOW)
        visitor.see("/").wait_for_timeout(1000)
        visitor.page.screenshot(path=HERE / "tour-page.png")

    for name, words in (("alert", "amtool"), ("log", "grep")):
        command = code_block(stack, PAGE, "sh", words)
        draw(Text(f"$ {command}{run(stack, command).rstrip()}"), HERE / f"tour-{name}.svg", COLUMNS)
    command = code_block(stack, PAGE, "sh", "trace=")
    [trace] = json.loads(run(stack, command))["data"]
    draw(waterfall(trace), HERE / "tour-trace.svg")


def results(stack: Stack, target: str) -> int:
    """The number of results of a target."""
    url = stack.url(f"/api/targets/{target}/statistics?window=1h")
    return int(requests.get(url, timeout=5).json()["results"])


def firing(stack: Stack) -> set[str]:
    """The names of the alerts that the application has as firing."""
    alerts = requests.get(stack.url("/api/alerts"), timeout=5).json()
    return {alert["alertname"] for alert in alerts if alert["status"] == "firing"}


def waterfall(trace: Mapping[str, Any]) -> Text:
    """The spans of a trace of Jaeger's API, indented below their parents, with bars on one axis of time."""
    spans = sorted(trace["spans"], key=lambda span: span["startTime"])
    known = {span["spanID"]: span for span in spans}
    first = spans[0]["startTime"]
    scale = BAR / max(span["startTime"] + span["duration"] - first for span in spans)
    names = [f"{'  ' * depth(span, known)}{span['operationName']}" for span in spans]
    width = max(map(len, names))
    lines = [Text(f"trace {trace['traceID']}, netmon-worker", "bold"), Text()]
    for name, span in zip(names, spans, strict=True):
        offset = int((span["startTime"] - first) * scale)
        bar = "━" * max(1, round(span["duration"] * scale))
        time = f"{span['duration'] / 1000:6.1f} ms"
        lines.append(Text.assemble(f"{name:{width}}  ", (time, "cyan"), "  ", " " * offset, (bar, "green")))
    return Text("\n").join(lines)


def depth(span: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> int:
    """How many of a span's ancestors are in the trace."""
    parents: Sequence[str] = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
    found = [known[parent] for parent in parents if parent in known]
    return 1 + depth(found[0], known) if found else 0


if __name__ == "__main__":
    main()
