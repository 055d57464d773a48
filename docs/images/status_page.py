"""Take the pictures of docs/status-page.md: `python -m docs.images.status_page`, of targets that are made up.

It needs what `nox -s live` and the application need, and a browser.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import uvicorn

from tests.fixtures.page import FakeReader, application
from tests.live.browser import DESKTOP, PHONE, Visitor, chromium
from tests.live.stack import free_ports

HERE = Path(__file__).resolve().parent
OVERVIEW = (1280, 640)
"""The window of the picture that README.md has too: half a screen of it."""


def main() -> None:
    """Write status-page-*.png beside this file."""
    (port,) = free_ports(1)
    reader = FakeReader.full()
    server = uvicorn.Server(uvicorn.Config(application(reader), port=port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    target = next(target.id for target in reader.known.values() if target.name == "Customer API")
    with chromium() as browser:
        for name, path, size, scheme in (
            ("light", "/", OVERVIEW, "light"),
            ("dark", f"/targets/{target}?span=24h", DESKTOP, "dark"),
            ("phone", "/", PHONE, "light"),
        ):
            visitor = Visitor(browser, f"http://127.0.0.1:{port}", size, scheme)
            page = visitor.see(path)
            page.wait_for_timeout(1000)
            page.screenshot(path=HERE / f"status-page-{name}.png")
    server.should_exit = True


if __name__ == "__main__":
    main()
