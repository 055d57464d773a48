"""Smoke checks of the monitoring services: an operation of each, or its readiness endpoint."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp

from netmon.settings import Settings
from netmon.smoke.check import TIMEOUT_SECONDS, Check, SmokeError, expect

RETRY_SECONDS = 0.25


async def check_prometheus(settings: Settings, _token: str) -> str:
    """Query scraped metrics."""
    async with _http() as http:
        await _until_ready(http, f"{settings.prometheus_url}/-/ready")
        answer = await _json(http, f"{settings.prometheus_url}/api/v1/query?query=count(up) or vector(0)")
    return f"ready, {answer['data']['result'][0]['value'][1]} targets scraped"


async def check_alertmanager(settings: Settings, _token: str) -> str:
    """Check that Alertmanager is ready and its API answers."""
    async with _http() as http, http.get(f"{settings.alertmanager_url}/-/ready") as response:
        expect(response.status == 200, f"not ready: status {response.status}")
        status = await _json(http, f"{settings.alertmanager_url}/api/v2/status")
    return f"ready, version {status['versionInfo']['version']}"


async def check_otel_collector(_settings: Settings, _token: str) -> str:
    """Check that the collector is healthy and accepts spans, with an empty request."""
    async with _http() as http:
        await _text(http, "http://otel-collector:13133/")
        async with http.post("http://otel-collector:4318/v1/traces", json={"resourceSpans": []}) as response:
            expect(response.status == 200, f"OTLP request answered with status {response.status}")
    return "healthy, accepts spans over OTLP"


async def _ready(url: str, _settings: Settings, _token: str) -> str:
    """Wait until a readiness endpoint answers with 200."""
    async with _http() as http:
        await _until_ready(http, url)
    return "ready"


async def _metric(url: str, metric: str, least: float, _settings: Settings, _token: str) -> str:
    """Wait until a metric of an exporter, which shows that it reaches its service, is at least `least`."""
    async with _http() as http:
        return await _retried(lambda: _value(http, url, metric, least))


async def _value(http: aiohttp.ClientSession, url: str, metric: str, least: float) -> str:
    page = await _text(http, url)
    found = [float(value) for value in re.findall(rf"^{metric}(?:\{{[^}}]*\}})? (\S+)", page, re.MULTILINE)]
    expect(bool(found), f"the metric {metric} is missing")
    expect(min(found) >= least, f"{metric} is {min(found):g}")
    return f"{metric} is {min(found):g}"


def metrics_page(url: str) -> Check:
    """The check that a service serves metrics at `url`."""
    return partial(_page, url)


async def _page(url: str, _settings: Settings, _token: str) -> str:
    """Check that a page has metrics."""
    async with _http() as http:
        page = await _text(http, url)
    found = len(re.findall(r"^[a-zA-Z_:].* \S+$", page, re.MULTILINE))
    expect(found > 0, f"{url} has no metrics")
    return f"{found} metrics"


async def _until_ready(http: aiohttp.ClientSession, url: str) -> None:
    await _retried(lambda: _text(http, url))


async def _retried(check: Callable[[], Awaitable[str]]) -> str:
    """Repeat a check until it passes: some services need seconds to become ready, or to reach another one again."""
    deadline = time.monotonic() + TIMEOUT_SECONDS - 1
    while True:
        try:
            return await check()
        except (SmokeError, aiohttp.ClientError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY_SECONDS)


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as response:
        expect(response.status == 200, f"{url} answered with status {response.status}")
        return await response.text()


async def _json(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as response:
        expect(response.status == 200, f"{url} answered with status {response.status}")
        return await response.json()


CHECKS: dict[str, Check] = {
    "prometheus": check_prometheus,
    "alertmanager": check_alertmanager,
    "grafana": partial(_ready, "http://grafana:3000/api/health"),
    "loki": partial(_ready, "http://loki:3100/ready"),
    "tempo": partial(_ready, "http://tempo:3200/ready"),
    "otel-collector": check_otel_collector,
    "postgres-exporter": partial(_metric, "http://postgres-exporter:9187/metrics", "pg_up", 1),
    "redis-exporter": partial(_metric, "http://redis-exporter:9121/metrics", "redis_up", 1),
    "kafka-exporter": partial(_metric, "http://kafka-exporter:9308/metrics", "kafka_brokers", 1),
    "node-exporter": partial(_metric, "http://node-exporter:9100/metrics", "node_filesystem_size_bytes", 1),
    "container-exporter": partial(_metric, "http://container-exporter:9101/metrics", "container_running", 0),
    "blackbox-exporter": partial(
        _metric,
        "http://blackbox-listener:9115/probe?module=http_2xx&target=http://prometheus:9090/-/ready",
        "probe_success",
        1,
    ),
    "jaeger": partial(_ready, "http://jaeger:13133/status"),
    "victorialogs": partial(_ready, "http://victorialogs:9428/health"),
}
