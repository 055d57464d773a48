"""Smoke checks of the monitoring services, against servers that are healthy, unhealthy, or healthy after a while."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from netmon.settings import Settings
from netmon.smoke import CHECKS, monitoring
from netmon.smoke.check import Check, SmokeError

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def server(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as running:
        yield str(running.make_url("/"))


def page(text: str, status: int = 200) -> Callable[[web.Request], web.Response]:
    return lambda _request: web.Response(text=text, status=status)


def pg_up(url: str) -> Check:
    return partial(monitoring._metric, url, "pg_up", 1)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("pg_up 1\n", "pg_up is 1"),
        ('# TYPE pg_up gauge\npg_up{server="a"} 1.0\npg_up{server="b"} 1\n', "pg_up is 1"),
    ],
)
async def test_an_exporter_that_reaches_its_service_passes(app_settings: Settings, text: str, detail: str) -> None:
    async with server(page(text)) as url:
        assert await pg_up(url)(app_settings, "") == detail


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("pg_up 0\n", 200, "pg_up is 0"),
        ('pg_up{server="a"} 1\npg_up{server="b"} 0\n', 200, "pg_up is 0"),
        ("pg_upgrades 1\n", 200, "pg_up is missing"),
        ("pg_up 1\n", 500, "answered with status 500"),
    ],
)
async def test_an_exporter_that_does_not_reach_its_service_fails(
    app_settings: Settings, text: str, status: int, message: str
) -> None:
    async with server(page(text, status)) as url:
        with pytest.raises(SmokeError, match=message):
            await pg_up(url)(app_settings, "")


async def test_the_readiness_check_waits(app_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = 0

    def later(_request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.Response(status=200 if requests > 2 else 503)

    monkeypatch.setattr(monitoring, "RETRY_SECONDS", 0.01)
    async with server(later) as url:
        assert await monitoring._ready(url, app_settings, "") == "ready"
    monkeypatch.setattr(monitoring, "TIMEOUT_SECONDS", 1.05)
    async with server(page("", 503)) as url:
        with pytest.raises(SmokeError, match="503"):
            await monitoring._ready(url, app_settings, "")


async def test_every_service_has_a_smoke_check() -> None:
    """In both image sets; app and worker have checks of their own (`health`, `probe`)."""
    services: set[str] = set()
    for layer in ("docker-compose.yml", "images/compose.yml"):
        # Without the tags that only Compose can parse.
        text = re.sub(r"!(override|reset)", "", (ROOT / layer).read_text())
        services |= yaml.safe_load(text)["services"].keys()
    assert services > {"loki", "victorialogs"}
    assert services - {"app", "worker", "smoke"} <= CHECKS.keys()
