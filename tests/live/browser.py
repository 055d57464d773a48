"""A browser that is driven, and that notes whatever a page must not do."""

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
    """The browser of this machine, no snap. Without one this fails: what is not driven is not proven."""
    found = filter(None, map(shutil.which, NAMES))
    program = next((each for each in found if Path(each).resolve().name != "snap"), None)
    assert program, f"none of {', '.join(NAMES)} is installed; fix: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """Somebody who looks at the page of an origin, with complaints about what the page did meanwhile."""

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
        # Violations of the Content-Security-Policy are told on the console as well.
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if self._leaves(request.url):
            self.complaints.append(f"asks {request.url}")

    def _leaves(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme not in ("data", "blob") and parts.netloc != self._host

    def see(self, path: str) -> Page:
        """Go there."""
        self.page.goto(path, wait_until="load")
        return self.page

    def overflow(self) -> int:
        """Pixels that the page is wider than the window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wide
