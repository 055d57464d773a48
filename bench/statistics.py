"""Statistics of a target, cached and uncached, with a million results stored; memory of the application and the worker.

Over HTTP, one request at a time: a pass asks for every target when the cache has none of them, and at once again when
it has all. Where the answers come from is told by `X-Cache`, and checked in PostgreSQL: the tables of the application
are scanned as often as the misses say, so not for any hit.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import IO, cast
from urllib.parse import urlsplit

import yaml

from bench.load import Answers, Connection, most
from bench.pairs import CONNECTIONS, ROUNDS, SECONDS, Pairs, ratio
from bench.probing import JOBS, answering, carried_out
from tests.live import watching
from tests.live.stack import Stack

SETTINGS = {"LOG_LEVEL": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
"""As in production, and nothing is traced where nothing keeps traces."""
ONE_PROCESS = {"services": {name: {"environment": {"RELOAD": "false"}} for name in ("app", "worker")}}
"""As in production: the process that watches the source in development takes memory as well."""
SETTLE = 30
"""Seconds until a container that has started is at rest."""
TARGETS = 50
RESULTS = 1_000_000
"""In the end every target has one a minute, for 13.9 of the 14 days that results are kept."""
PASSES = 20
"""Of a round, through all targets."""
SCANS = 2
"""Scans of tables for statistics from the record: of the target, and of its rollups."""
TOLD = 11
"""Seconds in which an idle session of PostgreSQL (15 or later) has told of its scans."""

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
        "buckets": histograms.BUCKETS, "first": histograms.FIRST, "growth": histograms.GROWTH,
    })

asyncio.run(main(int(sys.argv[1])))
"""

FORGET = """
import asyncio, os, sys
from netmon.cache import SharedCache
from netmon.settings import load

async def main(targets):
    cache = SharedCache(load(os.environ).redis_url)
    for _ in sys.stdin:
        await cache.invalidate(*(f"statistics:{target}:24h" for target in targets))
        print("forgotten", flush=True)

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

async def timed(asked):
    began = time.perf_counter()
    answer = await asked
    return time.perf_counter() - began, answer

async def main(passes, targets):
    database = Database(load(os.environ).database_url, "bench")
    await database.prepare()
    history, pairs = HistoryStore(database), []
    for target in targets * passes:
        window = {"target": target, "window": WINDOWS["24h"], "seconds": ROLLUP_SECONDS}
        raw, expected = await timed(database.one(RAW, window))
        rolled, told = await timed(history.statistics(UUID(target), "24h"))
        same = (told.results, told.failed) == (expected["results"], expected["failed"])
        percentiles = zip((told.p50_ms, told.p95_ms, told.p99_ms), expected["percentiles"], strict=True)
        if not same or not all(math.isclose(*each, rel_tol=0.06) for each in percentiles):
            sys.exit(f"from rollups: {told}, from results: {expected}")
        pairs.append((raw, rolled))
    print(json.dumps(pairs))

asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
"""


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line."""
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(ONE_PROCESS))
    stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    time.sleep(SETTLE)
    rest = {service: memory(stack, service) for service in ("app", "worker")}

    targets = [watching.watch(stack, "http://example.org/", enabled=False) for _ in range(TARGETS)]
    fill(stack)
    with answering(stack) as target:
        carried_out(stack, target, targets)
    probed = memory(stack, "worker")
    # From here on nobody but the application asks the database for anything.
    stack.compose("stop", "worker")

    paths = [f"/api/targets/{target}/statistics?window=24h" for target in targets]
    pairs = over_http(stack, targets, paths)
    load = most(stack.url(), paths, CONNECTIONS, SECONDS)
    asked = memory(stack, "app")
    raw, rolled = queries(stack, targets)

    name = f"statistics of 24 h, {RESULTS:,} results stored"
    yield f"{name}, uncached", figure([uncached for uncached, _ in pairs])
    yield f"{name}, cached", figure([cached for _, cached in pairs])
    yield "  p50, uncached ÷ cached", ratio(pairs, lambda each: each.quantile(0.5))
    yield "  p99, uncached ÷ cached", ratio(pairs, lambda each: each.quantile(0.99))
    yield "their query alone, from raw results", figure([raw])
    yield "their query alone, from rollups", figure([rolled])
    yield "  p50, from raw results ÷ from rollups", f"{raw.quantile(0.5) / rolled.quantile(0.5):.3f} x"
    answers = len(load.latencies) + sum(len(each.latencies) for pair in pairs for each in pair)
    yield f"memory of the application at rest, after {answers} answers", f"{rest['app']:.0f}, {asked:.0f} MiB"
    yield f"memory of the worker at rest, after {JOBS} probes", f"{rest['worker']:.0f}, {probed:.0f} MiB"


def fill(stack: Stack) -> None:
    """Store results of all targets and the rollups that follow from them, and let the database come to rest."""
    stack.docker("exec", stack.container("app")["Id"], "python", "-c", FILL, str(RESULTS), timeout=900)
    query = """
        SELECT (SELECT count(*) FROM probes) AS results, (SELECT sum(results) FROM rollups) AS counted,
            (SELECT sum(failed + (SELECT sum(count) FROM unnest(latency) AS count)) FROM rollups) AS in_histograms"""
    [stored] = watching.sql(stack, query)
    if set(stored.values()) != {RESULTS}:
        raise ValueError(f"not {RESULTS} results everywhere: {stored}")
    for statement in ("VACUUM (ANALYZE) probes, rollups, targets", "CHECKPOINT"):
        watching.execute(stack, statement)


def over_http(stack: Stack, targets: Sequence[str], paths: Sequence[str]) -> Pairs[Answers]:
    """Answers without the cache and with it, of each round."""
    before = scans(stack)
    with forgetting(stack, targets) as forget:
        pairs = asyncio.run(_over_http(stack.url(), paths, forget))
    done, misses = scans(stack) - before, sum(len(uncached.latencies) for uncached, _ in pairs)
    if done != SCANS * misses:
        raise ValueError(f"{done} scans of tables for {misses} misses: expected {SCANS * misses}")
    return pairs


async def _over_http(base: str, paths: Sequence[str], forget: Callable[[], None]) -> Pairs[Answers]:
    address = urlsplit(base)
    connection = Connection(str(address.hostname), int(address.port or 80))

    async def ask(path: str, cache: str) -> float:
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
            forget()
            uncached += [await ask(path, "miss") for path in paths]
            cached += [await ask(path, "hit") for path in paths]
        pairs.append((in_a_row(uncached), in_a_row(cached)))
    await connection.close()
    return pairs


@contextmanager
def forgetting(stack: Stack, targets: Sequence[str]) -> Iterator[Callable[[], None]]:
    """What empties the cache of the statistics of targets, in the way of the application itself."""
    command = ["docker", "exec", "--interactive", stack.container("app")["Id"], "python", "-c", FORGET, *targets]
    process = subprocess.Popen(
        command, env=stack.environment, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        told, heard = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

        def forget() -> None:
            told.write("\n")
            if not heard.readline():
                raise ValueError("the cache cannot be emptied")

        yield forget


def scans(stack: Stack) -> int:
    """How often tables of the application were scanned; whoever reads or changes one scans it or an index of it."""
    time.sleep(TOLD)
    query = "SELECT sum(seq_scan + coalesce(idx_scan, 0)) AS scans FROM pg_stat_user_tables WHERE schemaname = 'public'"
    return int(watching.sql(stack, query)[0]["scans"])


def queries(stack: Stack, targets: Sequence[str]) -> tuple[Answers, Answers]:
    """The answers of the database alone: from raw results, and from rollups, which must say the same."""
    container = stack.container("app")["Id"]
    pairs = json.loads(stack.docker("exec", container, "python", "-c", QUERIES, str(PASSES), *targets))
    raw, rolled = zip(*pairs, strict=True)
    return in_a_row(raw), in_a_row(rolled)


def memory(stack: Stack, service: str) -> float:
    """MiB of a container as `docker stats` tells them: its control group's, without the inactive pages of files."""
    told = stack.docker("stats", "--no-stream", "--format={{.MemUsage}}", stack.container(service)["Id"])
    return float(told.partition("MiB")[0])


def in_a_row(seconds: Sequence[float]) -> Answers:
    """What came of requests of which each waits for the one before."""
    return Answers(len(seconds) / sum(seconds), sorted(seconds))


def figure(rounds: Sequence[Answers]) -> str:
    """The latencies that are typical of a round, in milliseconds."""
    p50, p99 = (median(each.quantile(share) for each in rounds) * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
