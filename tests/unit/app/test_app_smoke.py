"""Smoke checks of the monitoring services, against servers that are healthy, unhealthy, or healthy after a while."""

import json
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
from netmon.smoke import CHECKS, PAGES, main, monitoring
from netmon.smoke.check import Check, SmokeError
from toolkit.checkout.scrape_jobs import metrics_pages

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


async def test_the_metrics_of_a_page_are_counted(app_settings: Settings) -> None:
    async with server(page('# TYPE lines_total counter\nlines_total{kind="a b"} 1\nup 1.0\n')) as url:
        assert await monitoring.metrics_page(url)(app_settings, "") == "2 metrics"


@pytest.mark.parametrize(
    ("text", "status", "message"), [("<html>\n", 200, "no metrics"), ("up 1\n", 503, "answered with status 503")]
)
async def test_a_page_without_metrics_fails(app_settings: Settings, text: str, status: int, message: str) -> None:
    async with server(page(text, status)) as url:
        with pytest.raises(SmokeError, match=message):
            await monitoring.metrics_page(url)(app_settings, "")


def test_a_service_without_a_check_is_checked_by_its_metrics_page(
    app_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check of its own takes precedence over the metrics page."""

    async def answer(_url: str, _settings: Settings, _token: str) -> str:
        return "metrics"

    async def own(_settings: Settings, _token: str) -> str:
        return "its own"

    monkeypatch.setattr(monitoring, "_page", answer)
    monkeypatch.setitem(CHECKS, "redis-exporter", own)
    monkeypatch.setenv(
        PAGES, json.dumps({"statsd-exporter": "http://s:1/metrics", "redis-exporter": "http://r:1/metrics"})
    )
    assert main(app_settings, ["redis-exporter", "statsd-exporter", "nothing"]) == 0
    results = {
        line["check"]: (line["ok"], line["detail"]) for line in map(json.loads, capsys.readouterr().out.splitlines())
    }
    assert results == {
        "nothing": (None, "no check for this service"),
        "statsd-exporter": (True, "metrics"), "redis-exporter": (True, "its own")
    }  # fmt: skip


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
    """In both image sets, except app and worker (`health`, `probe`) and the proxy, which the host checks."""
    services: set[str] = set()
    for layer in (*ROOT.glob("docker-compose*.yml"), *ROOT.glob("images/compose*.yml")):
        # Without the tags that only Compose can parse.
        text = re.sub(r"!(override|reset)", "", layer.read_text())
        services |= yaml.safe_load(text)["services"].keys()
    assert services > {"loki", "victorialogs"}
    assert services - {"app", "worker", "smoke", "proxy"} <= CHECKS.keys() | metrics_pages(ROOT)
