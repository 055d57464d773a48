"""A driven browser that records errors, warnings and requests to other origins."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = (1280, 900), (360, 780)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, not a snap; fails without one, since a skipped test would prove nothing."""
    candidates = filter(None, map(shutil.which, NAMES))
    program = next((each for each in candidates if Path(each).resolve().name != "snap"), None)
    assert program, f"none of {', '.join(NAMES)} is installed; fix: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A visitor of an origin's pages; ``complaints`` are the errors, warnings and foreign requests of the pages."""

    def __init__(self, browser: Browser, origin: str, size: tuple[int, int] = DESKTOP, scheme: str = "light",
                 scripts: bool = True) -> None:  # fmt: skip
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            base_url=origin,
            java_script_enabled=scripts,
            locale="en-GB",
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self._host = urlsplit(origin).netloc
        # Violations of the Content-Security-Policy appear on the console too.
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if self._is_foreign(request.url):
            self.complaints.append(f"requests {request.url}")

    def _is_foreign(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme not in ("data", "blob") and parts.netloc != self._host

    def see(self, path: str) -> Page:
        """Open a path of the origin."""
        self.page.goto(path, wait_until="load")
        return self.page

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wide
