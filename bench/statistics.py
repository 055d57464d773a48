"""Statistics of a target, cached and uncached, with a million results stored; memory of the application and the worker.

Over HTTP, one request at a time: a pass requests every target with an empty cache, and again with a filled one. The
header `X-Cache` reports hit or miss, and PostgreSQL confirms it: the tables of the application are scanned for each
miss, and for no hit.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast
from urllib.parse import urlsplit

import yaml

from bench.fast_target import answering
from bench.figure import Figure
from bench.load import Connection, LoadResult, closed_loop
from bench.pairs import CONNECTIONS, ROUNDS, SECONDS, Pairs, ratio
from bench.probing import JOBS, jobs_per_second
from tests.live import pipeline
from tests.live.stack import Stack

SETTINGS = {"LOG_LEVEL": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
"""As in production; without traces, since the stack has no trace store."""
ONE_PROCESS = {"services": {name: {"environment": {"RELOAD": "false"}} for name in ("app", "worker")}}
"""As in production: the process that watches the source in development uses memory too."""
SETTLE = 30
"""Seconds until a started container is idle."""
TARGETS = 50
RESULTS = 1_000_000
"""One a minute of every target, for 13.9 of the 14 days of the retention."""
PASSES = 20
"""Passes through all targets in a round."""
SCANS = 2
"""Table scans for the statistics of a target on a cache miss: targets, and rollups."""
SCANS_REPORTED = 11
"""Seconds after which an idle session of PostgreSQL (15 or later) has reported its scans."""

FILL = """
import asyncio, os, sys
from netmon import histograms
from netmon.database import Database
from netmon.result_store import ROLLUP_SECONDS
from netmon.settings import load

BUCKET = "greatest(0, least(%(buckets)s - 1, ceil(ln(duration_ms / %(first)s) / ln(%(growth)s) - 1e-9)))::integer"
STATEMENT = f'''
    WITH planned AS (
        SELECT id, now() - number * interval '1 minute' AS finished_at,
            50 * exp(random() + random() + random() + random() - 2) AS duration_ms,
            CASE WHEN random() < 0.005 THEN 'failed' ELSE 'succeeded' END AS status
        FROM targets, generate_series(0, %(results)s / (SELECT count(*) FROM targets) - 1) AS number),
    stored AS (
        INSERT INTO probes (id, target, url, status, requested_at, finished_at, duration_ms, http_status, error)
        SELECT gen_random_uuid(), id, 'http://example.org/', status, finished_at - duration_ms * interval '1 ms',
            finished_at, duration_ms, CASE status WHEN 'failed' THEN 503 ELSE 200 END,
            CASE status WHEN 'failed' THEN 'status' END
        FROM planned ORDER BY finished_at
        RETURNING target, finished_at, duration_ms, status),
    counted AS (
        SELECT target, date_bin(%(seconds)s * interval '1 s', finished_at, 'epoch') AS at, count(*) AS results,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            array_agg({BUCKET}) FILTER (WHERE status = 'succeeded') AS latencies
        FROM stored GROUP BY 1, 2)
    INSERT INTO rollups (target, at, results, failed, latency)
    SELECT target::uuid, at, results, failed, ARRAY(
        SELECT coalesce(cardinality(array_positions(latencies, bucket)), 0)
        FROM generate_series(0, %(buckets)s - 1) AS bucket ORDER BY bucket)
    FROM counted'''

async def main(results):
    database = Database(load(os.environ).database_url, "bench")
    await database.prepare()
    await database.run(STATEMENT, {
        "results": results, "seconds": ROLLUP_SECONDS,
        "buckets": histograms.BUCKETS, "first": histograms.FIRST_BOUND_MS, "growth": histograms.GROWTH,
    })

asyncio.run(main(int(sys.argv[1])))
"""

INVALIDATE = """
import asyncio, os, sys
from netmon.cache import SharedCache
from netmon.settings import load

async def main(targets):
    cache = SharedCache(load(os.environ).redis_url)
    for _ in sys.stdin:
        await cache.invalidate(*(f"statistics:{target}:24h" for target in targets))
        print("deleted", flush=True)

asyncio.run(main(sys.argv[1:]))
"""

QUERIES = """
import asyncio, json, math, os, sys, time
from uuid import UUID
from netmon.database import Database
from netmon.history_store import WINDOWS, HistoryStore
from netmon.result_store import ROLLUP_SECONDS
from netmon.settings import load

# A window of rollups is one of whole five minutes.
RAW = '''
    SELECT count(*) AS results, count(*) FILTER (WHERE status = 'failed') AS failed,
        percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)
            FILTER (WHERE status = 'succeeded') AS percentiles
    FROM probes WHERE target = %(target)s AND finished_at > now() - %(window)s
    AND date_bin(%(seconds)s * interval '1 s', finished_at, 'epoch') > now() - %(window)s'''

async def timed(query):
    began = time.perf_counter()
    result = await query
    return time.perf_counter() - began, result

async def main(passes, targets):
    database = Database(load(os.environ).database_url, "bench")
    await database.prepare()
    history, pairs = HistoryStore(database), []
    for target in targets * passes:
        window = {"target": target, "window": WINDOWS["24h"], "seconds": ROLLUP_SECONDS}
        raw, expected = await timed(database.one(RAW, window))
        rolled, found = await timed(history.statistics(UUID(target), "24h"))
        same = (found.results, found.failed) == (expected["results"], expected["failed"])
        percentiles = zip((found.p50_ms, found.p95_ms, found.p99_ms), expected["percentiles"], strict=True)
        if not same or not all(math.isclose(*each, rel_tol=0.06) for each in percentiles):
            sys.exit(f"from rollups: {found}, from results: {expected}")
        pairs.append((raw, rolled))
    print(json.dumps(pairs))

asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
"""


def figures(stack: Stack) -> Iterator[Figure]:
    """Latencies over HTTP and of the query alone, and memory before and after."""
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(ONE_PROCESS))
    stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    time.sleep(SETTLE)
    idle = {service: memory(stack, service) for service in ("app", "worker")}

    targets = [pipeline.add_target(stack, "http://example.org/", enabled=False) for _ in range(TARGETS)]
    fill(stack)
    with answering(stack) as target:
        jobs_per_second(stack, target, targets)
    probed = memory(stack, "worker")
    # From here on the application is the only client of the database.
    stack.compose("stop", "worker")

    paths = [f"/api/targets/{target}/statistics?window=24h" for target in targets]
    pairs = over_http(stack, targets, paths)
    load = closed_loop(stack.url(), paths, CONNECTIONS, SECONDS)
    loaded = memory(stack, "app")
    raw, rolled = queries(stack, targets)

    name = f"statistics of 24 h, {RESULTS:,} results stored"
    yield from quantiles("uncached", f"{name}, uncached", [uncached for uncached, _ in pairs])
    yield from quantiles("cached", f"{name}, cached", [cached for _, cached in pairs])
    yield ratio("p50-ratio", "p50, uncached ÷ cached", pairs, lambda each: each.quantile(0.5), "neither")
    yield ratio("p99-ratio", "p99, uncached ÷ cached", pairs, lambda each: each.quantile(0.99), "neither")
    yield from quantiles("raw-query", "their query alone, from raw results", [raw])
    yield from quantiles("rollup-query", "their query alone, from rollups", [rolled])
    answers = len(load.latencies) + sum(len(each.latencies) for pair in pairs for each in pair)
    yield Figure("app-idle", "memory of the application, idle", "MiB", [idle["app"]])
    yield Figure("app-loaded", f"memory of the application after {answers:,} responses", "MiB", [loaded])
    yield Figure("worker-idle", "memory of a worker, idle", "MiB", [idle["worker"]])
    yield Figure("worker-loaded", f"memory of a worker after {JOBS:,} probes", "MiB", [probed])


def fill(stack: Stack) -> None:
    """Store results of all targets with their rollups, then vacuum, analyze and checkpoint."""
    stack.docker("exec", stack.container("app")["Id"], "python", "-c", FILL, str(RESULTS), timeout=900)
    query = """
        SELECT (SELECT count(*) FROM probes) AS results, (SELECT sum(results) FROM rollups) AS counted,
            (SELECT sum(failed + (SELECT sum(count) FROM unnest(latency) AS count)) FROM rollups) AS in_histograms"""
    [stored] = pipeline.sql(stack, query)
    if set(stored.values()) != {RESULTS}:
        raise ValueError(f"not {RESULTS} results in every table: {stored}")
    for statement in ("VACUUM (ANALYZE) probes, rollups, targets", "CHECKPOINT"):
        pipeline.execute(stack, statement)


def over_http(stack: Stack, targets: Sequence[str], paths: Sequence[str]) -> Pairs[LoadResult]:
    """Latencies without the cache and with it, of each round."""
    before = scans(stack)
    with cache_invalidation(stack, targets) as invalidate:
        pairs = asyncio.run(_over_http(stack.url(), paths, invalidate))
    done, misses = scans(stack) - before, sum(len(uncached.latencies) for uncached, _ in pairs)
    if done != SCANS * misses:
        raise ValueError(f"{done} scans of tables for {misses} misses: expected {SCANS * misses}")
    return pairs


async def _over_http(base: str, paths: Sequence[str], invalidate: Callable[[], None]) -> Pairs[LoadResult]:
    address = urlsplit(base)
    connection = Connection(str(address.hostname), int(address.port or 80))

    async def latency(path: str, cache: str) -> float:
        began = time.perf_counter()
        head = await connection.get(path)
        seconds = time.perf_counter() - began
        if f"\r\nx-cache: {cache}\r\n" not in head:
            raise ValueError(f"{path}: not a {cache}:\n{head}")
        return seconds

    pairs = []
    for _ in range(ROUNDS):
        uncached, cached = list[float](), list[float]()
        for _ in range(PASSES):
            invalidate()
            uncached += [await latency(path, "miss") for path in paths]
            cached += [await latency(path, "hit") for path in paths]
        pairs.append((sequential(uncached), sequential(cached)))
    await connection.close()
    return pairs


@contextmanager
def cache_invalidation(stack: Stack, targets: Sequence[str]) -> Iterator[Callable[[], None]]:
    """A function that invalidates the cached statistics of the targets, as the application does."""
    command = ["docker", "exec", "--interactive", stack.container("app")["Id"], "python", "-c", INVALIDATE, *targets]
    process = subprocess.Popen(
        command, env=stack.environment, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        requests, replies = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

        def invalidate() -> None:
            requests.write("\n")
            if not replies.readline():
                raise ValueError("the cache cannot be invalidated")

        yield invalidate


def scans(stack: Stack) -> int:
    """The number of scans of the application's tables and their indexes, one for each read or write."""
    time.sleep(SCANS_REPORTED)
    query = "SELECT sum(seq_scan + coalesce(idx_scan, 0)) AS scans FROM pg_stat_user_tables WHERE schemaname = 'public'"
    return int(pipeline.sql(stack, query)[0]["scans"])


def queries(stack: Stack, targets: Sequence[str]) -> tuple[LoadResult, LoadResult]:
    """Latencies of the query alone: from raw results, and from rollups, whose values must agree."""
    container = stack.container("app")["Id"]
    pairs = json.loads(stack.docker("exec", container, "python", "-c", QUERIES, str(PASSES), *targets))
    raw, rolled = zip(*pairs, strict=True)
    return sequential(raw), sequential(rolled)


def memory(stack: Stack, service: str) -> float:
    """Memory of a container in MiB as in `docker stats`: its control group's, without inactive page cache."""
    usage = stack.docker("stats", "--no-stream", "--format={{.MemUsage}}", stack.container(service)["Id"])
    return float(usage.partition("MiB")[0])


def sequential(seconds: Sequence[float]) -> LoadResult:
    """The result of requests that were sent one after another."""
    return LoadResult(len(seconds) / sum(seconds), sorted(seconds))


def quantiles(key: str, label: str, rounds: Sequence[LoadResult]) -> Iterator[Figure]:
    """The p50 and the p99 of each round."""
    for quantile, share in (("p50", 0.5), ("p99", 0.99)):
        samples = [each.quantile(share) * 1000 for each in rounds]
        yield Figure(f"{key}-{quantile}", f"{label}, {quantile}", "ms", samples)
