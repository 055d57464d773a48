"""The status page and the list of targets with the maximum number of targets, while all of them are probed.

The targets are inserted as the application would store them: each with a state, its latest results and a last result;
the periods of 90 days, with an outage every three days; those on the first page, which are down, with the rollups of a
day. Requests are sent at a constant rate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import requests
import yaml

from bench.fast_target import answering
from bench.figure import Figure
from bench.load import LoadResult, constant_rate
from bench.statistics import ONE_PROCESS, memory
from tests.live import pipeline
from tests.live.stack import Stack, until

SETTINGS = {"LOG_LEVEL": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
"""As in production; without traces, since the stack has no trace store."""
TARGETS = 20_000
"""The limit (`netmon.target_store.MAX_TARGETS`)."""
INTERVAL = 300
"""Seconds between two probes of a target: 67 probes a second altogether, a quarter of what a worker can do."""
DOWN = 100
RATE = 10.0
"""Requests a second: of the status page, as many as of 50 visitors."""
SECONDS = 20.0
ROUNDS = 3
PAGES = 50
"""Pages of the API that are read in turns."""
OTHER_PAGES = ("/?page=2", "/?page=200", "/?state=up&q=target+00", "/?state=down")

FILL = """
    INSERT INTO targets (
        id, name, spec, interval_seconds, timeout_seconds, retries, failures, "window", enabled, created_at, updated_at,
        due_at)
    SELECT gen_random_uuid(), 'Target ' || to_char(number, 'FM00000'),
        jsonb_build_object('kind', 'http', 'url', CASE WHEN number % {each} = 0 THEN '{refused}' ELSE '{url}' END),
        {interval}, 2, 0, 2, 3, true, now(), now(), now() + random() * {interval} * interval '1 s'
    FROM generate_series(1, {count}) AS number;

    INSERT INTO standings (target, state, since, recent, observed_state, observed_from, overdue_at)
    SELECT id, state, since, recent, state, now() - interval '1 hour', now() + interval '10 min'
    FROM targets, LATERAL (SELECT
        CASE spec ->> 'url' WHEN '{refused}' THEN 'down' ELSE 'up' END AS state,
        now() - interval '1 day' * random() AS since, (
        SELECT jsonb_agg(jsonb_build_array(
            extract(epoch FROM now()) - {interval} * (40.5 - point), 30 + 20 * random(),
            CASE spec ->> 'url' WHEN '{refused}' THEN 'bad' ELSE 'good' END))
        FROM generate_series(1, 40) AS point) AS recent
    ) AS made;

    INSERT INTO periods (target, state, started_at, ended_at)
    SELECT id, state, now() - interval '90 d' + number * interval '71 h' + since,
        now() - interval '90 d' + number * interval '71 h' + until
    FROM generate_series(0, 29) AS number, targets, (VALUES
        ('up', interval '0', interval '70 h 50 min'), ('down', interval '70 h 50 min', interval '71 h')
    ) AS states (state, since, until);

    INSERT INTO probes (id, target, url, status, requested_at, finished_at, duration_ms, http_status)
    SELECT gen_random_uuid(), id::text, spec ->> 'url', 'succeeded', finished_at, finished_at, 40, 200
    FROM targets, LATERAL (SELECT now() - {interval} * interval '0.5 s' AS finished_at) AS last;

    INSERT INTO rollups (target, at, results, failed, latency)
    SELECT id, date_bin('5 min', now(), 'epoch') - number * interval '5 min', 1, 1, array_fill(0, ARRAY[128])
    FROM targets, generate_series(1, 287) AS number WHERE spec ->> 'url' = '{refused}';
"""


def figures(stack: Stack) -> Iterator[Figure]:
    """Latencies and sizes of pages, the probes executed meanwhile, and memory."""
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(ONE_PROCESS))
    stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    with answering(stack) as target:
        fill(stack, target.url)
        filled = finished(stack)
        until(lambda: finished(stack) - filled > 100, 60, "the targets to be probed")
        until(lambda: requests.get(stack.url(), timeout=30).ok, 60, "the status page")
        groups = {
            "page": ("the status page", ["/"]),
            "other-pages": ("further and filtered pages", OTHER_PAGES),
            "target": ("the page of a target", target_pages(stack)),
            "api": ("`GET /api/targets`", ["/api/targets"]),
            "api-pages": (f"the first {PAGES} pages of `GET /api/targets`", api_pages(stack)),
        }
        measured: dict[str, list[LoadResult]] = {key: [] for key in groups}
        rates = []
        for _ in range(ROUNDS):
            before, began = finished(stack), time.monotonic()
            for key, (_, paths) in groups.items():
                measured[key].append(constant_rate(stack.url(), paths, RATE, SECONDS))
            rates.append((finished(stack) - before) / (time.monotonic() - began))
        for key, (label, paths) in groups.items():
            for name, share in (("p50", 0.5), ("p99", 0.99), ("maximum", 1.0)):
                samples = [each.quantile(share) * 1000 for each in measured[key]]
                yield Figure(f"{key}-{name}", f"{label}, {name}", "ms", samples)
            yield Figure(f"{key}-size", f"{label}, largest response", "kB", [largest(stack, paths) / 1000])
    yield Figure("probes", "probes per second meanwhile", "per s", rates, "neither")
    for service in ("app", "worker"):
        yield Figure(f"{service}-memory", f"memory of `{service}` afterwards", "MiB", [memory(stack, service)])


def fill(stack: Stack, url: str) -> None:
    """Store all targets, of which DOWN refuse connections, with their results; then vacuum, analyze and checkpoint."""
    refused = f"{url.rpartition(':')[0]}:1/"
    statements = FILL.format(url=url, refused=refused, each=TARGETS // DOWN, interval=INTERVAL, count=TARGETS)
    pipeline.execute(stack, statements)
    for statement in ("VACUUM (ANALYZE) targets, standings, probes, rollups, periods", "CHECKPOINT"):
        pipeline.execute(stack, statement)


def finished(stack: Stack) -> int:
    """The number of probes with a result."""
    [row] = pipeline.sql(stack, "SELECT count(*) AS number FROM probes WHERE status <> 'queued'")
    return int(row["number"])


def api_pages(stack: Stack) -> Sequence[str]:
    """The paths of the first PAGES pages of the list, as their links give them."""
    paths = ["/api/targets"]
    while len(paths) < PAGES:
        paths.append(requests.get(stack.url(paths[-1]), timeout=30).links["next"]["url"])
    return paths


def target_pages(stack: Stack) -> Sequence[str]:
    """The paths of the pages of some targets."""
    found = pipeline.sql(stack, "SELECT id FROM targets ORDER BY name LIMIT 100")
    return [f"/targets/{row['id']}" for row in found]


def largest(stack: Stack, paths: Sequence[str]) -> int:
    """The size of the largest of these responses, uncompressed, in bytes."""
    plain = {"Accept-Encoding": "identity"}
    return max(len(requests.get(stack.url(path), headers=plain, timeout=30).content) for path in paths)
