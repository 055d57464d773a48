"""The verdicts of curl and Chromium: ``python -m tests.corpus.record [NAME…]`` writes `verdicts.json`."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from tests.corpus import CORPUS
from tests.corpus.answer import TEXT, Answer
from tests.corpus.server import Authority, serving

FILE = Path(__file__).with_name("verdicts.json")
SECONDS = 2
"""How long each client may take."""
REDIRECT_EXITS = frozenset({1, 3, 5, 6, 7, 47})
"""Exits of curl that follow a redirect which leads nowhere."""
TEXT_FORMS = (TEXT.encode(), TEXT.encode("latin-1"), TEXT.encode("utf-16-le"), TEXT.encode("utf-16-be"))


class Verdict(TypedDict):
    """What a client makes of an answer."""

    status: int | None
    """Of the response that it shows; None if there is none."""
    error: str | None
    """Its own name of what is wrong: the number of curl's exit, or the error of Chromium."""
    text: bool
    """Whether it shows the text."""


async def curl(url: str, authority: Authority) -> Verdict:
    """The verdict of curl, with redirects, cookies and compression."""
    header = authority.path.with_name("header")
    process = await asyncio.create_subprocess_exec(
        "curl",
        "-sS",
        "-L",
        "--compressed",
        "-b",
        "",
        "--cacert",
        str(authority.path),
        "--max-time",
        str(SECONDS),
        "-D",
        str(header),
        "-w",
        "%{stderr}\n%{http_code} %{num_redirects}",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    body, written = await process.communicate()
    status = int(written.decode(errors="replace").splitlines()[-1].split()[0])
    code = process.returncode
    complete = header.read_bytes().replace(b"\r", b"").endswith(b"\n\n")
    shown = status >= 200 and (not code or (complete and code not in REDIRECT_EXITS))
    return Verdict(
        status=status if shown else None,
        error=f"exit {code}" if code else None,
        text=any(form in body[: 4 * 1024 * 1024] for form in TEXT_FORMS),
    )


class Chromium:
    """Headless Chromium, driven by Playwright."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    async def verdict(self, url: str) -> Verdict:
        """What a person sees after typing the URL."""
        context = await self._browser.new_context(ignore_https_errors=False)
        page = await context.new_page()
        responses: list[int] = []
        failures: list[str] = []
        page.on("response", lambda each: responses.append(each.status) if _is_page(each.request) else None)
        page.on("requestfailed", lambda each: failures.append(each.failure or "") if _is_page(each) else None)
        error, text = None, False
        try:
            await page.goto(url, wait_until="commit", timeout=SECONDS * 1000)
        except Exception as failure:
            error = _error(str(failure))
        for _ in range(10):
            await asyncio.sleep(0.1)
            # The page may navigate, or have no document.
            with suppress(Exception):
                text = TEXT in await asyncio.wait_for(page.content(), 1)
            if text:
                break
        await context.close()
        error = error or next((_error(each) for each in failures if "ABORTED" not in each), None)
        status = responses[-1] if responses else None
        if status is None or (error and (300 <= status < 400 or "REDIRECT" in error)):
            status, text = None, False
        return Verdict(status=status, error=error, text=text)


def _is_page(request: Any) -> bool:
    return bool(request.is_navigation_request())


def _error(text: str) -> str:
    found = [word.strip(":") for word in text.split() if word.startswith("net::")]
    return found[0] if found else "timeout" if "Timeout" in text else text.splitlines()[0]


async def record(names: list[str]) -> None:
    """Run both clients against the answers of these names, all if there are none, and write the file."""
    from playwright.async_api import async_playwright

    known: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", *authority.chromium()]
            )
            client = Chromium(browser)
            verdicts: dict[str, dict[str, Any]] = {}
            for group, answers in CORPUS.items():
                for answer in answers:
                    key = f"{group}: {answer.name}"
                    if key in known and names and not any(name in key for name in names):
                        verdicts[key] = known[key] | facts(answer)
                        continue
                    verdicts[key] = facts(answer) | await _both(answer, authority, client)
                    print(key, *verdicts[key].values(), flush=True)
            await browser.close()
    FILE.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def facts(answer: Answer) -> dict[str, Any]:
    """What the file has of an answer besides the verdicts of others."""
    probe = {"status": answer.status, "error": answer.error, "text": answer.found}
    return {"probe": probe, "reason": answer.reason}


async def _both(answer: Answer, authority: Authority, chromium: Chromium) -> dict[str, Any]:
    async with serving(answer, authority) as url:
        first = await curl(url, authority)
    async with serving(answer, authority) as url:
        return {"curl": first, "chromium": await chromium.verdict(url)}


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
