"""The verdicts of blackbox_exporter."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from tests.corpus.answer import TEXT
from tests.corpus.server import HOST
from tests.corpus.verdict import SECONDS, Verdict

PROGRAM = "blackbox_exporter"
START_SECONDS = 10
MAX_REDIRECTS = 10
"""Of blackbox_exporter. It reports the status of a redirect that it does not follow, too."""
ANY = "any_answer"
WITH_TEXT = "with_text"
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
_METRIC = re.compile(r"^(probe_\w+) (\S+)$", re.MULTILINE)
_ERROR = re.compile(r' err=("(?:[^"\\]|\\.)*"|\S+)')
_CHANGING = re.compile(r'^\w+ "[^"]*": | tcp [\d.:>-]+(?=:)|: current time .*')
"""The URL, addresses and times in an error."""


class BlackboxExporter:
    """A blackbox_exporter that is running.

    Args:
        address: its host and port.
    """

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session

    async def verdict(self, url: str) -> Verdict:
        """The verdict of two probes: one that accepts any answer, and one that requires the text."""
        return read_verdict(await self._probe(url, ANY), await self._probe(url, WITH_TEXT))

    async def _probe(self, url: str, module: str) -> str:
        params = {"target": url, "module": module, "debug": "true"}
        async with self._session.get(f"http://{self._address}/probe", params=params) as response:
            response.raise_for_status()
            return await response.text()


def read_verdict(any_answer: str, with_text: str) -> Verdict:
    """The verdict in two reports of blackbox_exporter: its log, its metrics and its configuration."""
    metrics = _metrics(any_answer)
    status = int(metrics["probe_http_status_code"])
    stuck = metrics["probe_http_redirects"] > MAX_REDIRECTS
    answered = status or metrics["probe_success"]  # 0 is also the status of no response
    return Verdict(
        status=status if answered and not stuck else None,
        error="too many redirects" if stuck else _error(any_answer),
        text=_metrics(with_text)["probe_success"] == 1,
    )


@asynccontextmanager
async def blackbox_exporter(program: str, authority: Path) -> AsyncIterator[BlackboxExporter]:
    """Run blackbox_exporter on the loopback interface.

    Args:
        program: its path, or its name in PATH.
        authority: the certificate of the authority that it trusts; its configuration and log are written beside it.

    Raises:
        SystemExit: it is not installed, or does not start.
    """
    configuration, log = authority.with_name("blackbox.json"), authority.with_name("blackbox.log")
    # JSON is YAML.
    configuration.write_text(json.dumps(_modules(authority), ensure_ascii=False), encoding="utf-8")
    with log.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                program, f"--config.file={configuration}", f"--web.listen-address={HOST}:0", stderr=output
            )
        except OSError as error:
            raise SystemExit(f"cannot run {program}: {error.strerror} (--blackbox-exporter PATH, see --help)") from None
    try:
        address = await _address(process, log)
        async with aiohttp.ClientSession() as session:
            yield BlackboxExporter(address, session)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _modules(authority: Path) -> Mapping[str, object]:
    """Modules like the usual http_2xx, for any status and for the text."""
    http = {
        "preferred_ip_protocol": "ip4",
        "valid_status_codes": list(range(1000)),
        "follow_redirects": True,
        "enable_http2": True,
        "tls_config": {"ca_file": str(authority)},
        "body_size_limit": "128MiB",  # only an endless body has more
    }
    checks: Mapping[str, Mapping[str, object]] = {ANY: {}, WITH_TEXT: {"fail_if_body_not_matches_regexp": [TEXT]}}
    timeout = f"{SECONDS}s"
    return {
        "modules": {
            name: {"prober": "http", "timeout": timeout, "http": {**http, **check}} for name, check in checks.items()
        }
    }


async def _address(process: Process, log: Path) -> str:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                if found := _LISTENING.search(log.read_text(encoding="utf-8", errors="replace")):
                    return found[1]
                await asyncio.sleep(0.05)
    raise SystemExit(f"{PROGRAM} does not start:\n{log.read_text(encoding='utf-8', errors='replace')}")


def _metrics(report: str) -> Mapping[str, float]:
    return {name: float(value) for name, value in _METRIC.findall(report)}


def _error(report: str) -> str | None:
    """The last error of the log, without what is different in each run."""
    errors: list[str] = _ERROR.findall(report)
    if not errors:
        return None
    text = ast.literal_eval(errors[-1]) if errors[-1].startswith('"') else errors[-1]
    return _CHANGING.sub("", text)
