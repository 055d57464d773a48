"""The verdicts of curl, Chromium and blackbox_exporter: ``python -m tests.corpus.record`` writes `verdicts.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.corpus import CORPUS
from tests.corpus.answer import TEXT, Answer
from tests.corpus.blackbox import PROGRAM, blackbox_exporter
from tests.corpus.server import Authority, serving
from tests.corpus.verdict import SECONDS, Verdict

FILE = Path(__file__).with_name("verdicts.json")
CLIENTS = ("curl", "chromium", "blackbox_exporter")
REDIRECT_EXITS = frozenset({1, 3, 5, 6, 7, 47})
"""Exits of curl that follow a redirect which leads nowhere."""
TEXT_FORMS = (TEXT.encode(), TEXT.encode("latin-1"), TEXT.encode("utf-16-le"), TEXT.encode("utf-16-be"))

Client = Callable[[str], Awaitable[Verdict]]
"""Takes a URL."""


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


async def record(names: Sequence[str], clients: Sequence[str], program: str) -> None:
    """Write the verdicts of these clients on the answers of these names, all if there are none; keep the others.

    Args:
        names: parts of names of answers.
        clients: the clients that are run.
        program: the path of blackbox_exporter, or its name in PATH.
    """
    known: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    verdicts: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        async with AsyncExitStack() as stack:
            running = {name: await _start(name, authority, program, stack) for name in CLIENTS if name in clients}
            for group, answers in CORPUS.items():
                for answer in answers:
                    key = f"{group}: {answer.name}"
                    former = {name: verdict for name, verdict in known.get(key, {}).items() if name in CLIENTS}
                    wanted = not names or any(name in key for name in names)
                    asked = {name: ask for name, ask in running.items() if wanted or name not in former}
                    new = {name: await _verdict(answer, authority, ask) for name, ask in asked.items()}
                    verdicts[key] = facts(answer) | {
                        name: verdict for name in CLIENTS if (verdict := new.get(name, former.get(name)))
                    }
                    if new:
                        print(key, *new.values(), flush=True)
    FILE.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def facts(answer: Answer) -> dict[str, Any]:
    """What the file has of an answer besides the verdicts of others."""
    probe = {"status": answer.status, "error": answer.error, "text": answer.found}
    return {"probe": probe, "reason": answer.reason}


async def _start(name: str, authority: Authority, program: str, stack: AsyncExitStack) -> Client:
    if name == "curl":
        return partial(curl, authority=authority)
    if name == "chromium":
        return (await stack.enter_async_context(_chromium(authority))).verdict
    return (await stack.enter_async_context(blackbox_exporter(program, authority.path))).verdict


@asynccontextmanager
async def _chromium(authority: Authority) -> AsyncIterator[Chromium]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", *authority.chromium()]
        )
        yield Chromium(browser)
        await browser.close()


async def _verdict(answer: Answer, authority: Authority, client: Client) -> Verdict:
    async with serving(answer, authority) as url:
        return await client(url)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.corpus.record",
        description="Record what curl, Chromium and blackbox_exporter make of the answers.",
        epilog="To copy blackbox_exporter from its image: "
        "id=$(docker create IMAGE) && docker cp -L $id:/bin/blackbox_exporter . && docker rm $id",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the name of an answer (default: all)")
    parser.add_argument(
        "--client",
        action="append",
        choices=CLIENTS,
        dest="clients",
        help="record the verdicts of this client only, and keep those of the others; may be repeated",
    )
    parser.add_argument("--blackbox-exporter", default=PROGRAM, metavar="PATH", help="default: the one in PATH")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    asyncio.run(record(arguments.names, arguments.clients or CLIENTS, arguments.blackbox_exporter))
