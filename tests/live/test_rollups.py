"""Old rollups are merged into coarser ones, with nothing lost or counted twice, and the plot of a year has them."""

from __future__ import annotations

from typing import Any

import requests

from tests.live import pipeline
from tests.live.stack import Stack

MERGE = """
import asyncio, os
from netmon import rollups
from netmon.database import Database
from netmon.settings import load

async def main():
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    await asyncio.gather(*(rollups.merge(database) for _ in range(2)))
    assert await rollups.merge(database) == 0, "something was left"
    await database.close()

asyncio.run(main())
"""
FILL = """
INSERT INTO rollups
SELECT '{target}', at, 5, 1, array_fill(0, ARRAY[38]) || ARRAY[3, 1] || array_fill(0, ARRAY[88])
FROM generate_series(date_bin('5 min', now() - interval '{start}', 'epoch'), now() - interval '{end}', '5 min') AS at
"""
TOTALS = """
SELECT sum(results) AS results, sum(failed) AS failed, sum(third) AS third, sum(fourth) AS fourth FROM (
    SELECT results, failed, latency[39] AS third, latency[40] AS fourth FROM rollups WHERE target = '{target}'
    UNION ALL
    SELECT results, failed, counts[array_position(buckets, 39::smallint)], counts[array_position(buckets, 40::smallint)]
    FROM coarse_rollups WHERE target = '{target}') AS every
"""
RESOLUTIONS = """
SELECT seconds, count(*) AS rollups, min(extract(epoch FROM now() - at)) / 86400 AS newest,
    max(extract(epoch FROM now() - at)) / 86400 AS oldest
FROM (SELECT 300 AS seconds, at FROM rollups WHERE target = '{target}'
    UNION ALL SELECT seconds, at FROM coarse_rollups WHERE target = '{target}') AS every
GROUP BY seconds
"""


def test_old_rollups_are_merged_and_none_is_lost(stack: Stack) -> None:
    target = pipeline.add_target(stack, "http://app:3000/", enabled=False)

    def row(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pipeline.sql(stack, query.format(target=target))
        return found

    def year() -> dict[str, Any]:
        series = requests.get(stack.url(f"/api/targets/{target}/series?span=1y"), timeout=10)
        assert series.status_code == 200, series.text
        return dict(series.json())

    try:
        for start, end in (("402 days", "398 days"), ("37 days", "34 days")):
            pipeline.execute(stack, FILL.format(target=target, start=start, end=end))
        [before] = row(TOTALS)
        stack.exec("worker", "python", "-c", MERGE)
        assert row(TOTALS) == [before]
        # A result that is stored late, after the others of its hour were merged.
        pipeline.execute(stack, FILL.format(target=target, start="36 days", end="36 days"))
        stack.exec("worker", "python", "-c", MERGE)
        [after] = row(TOTALS)
        assert after == {"results": before["results"] + 5, "failed": before["failed"] + 1,
                         "third": before["third"] + 3, "fourth": before["fourth"] + 1}  # fmt: skip
        found = {each["seconds"]: each for each in row(RESOLUTIONS)}
        assert found.keys() == {300, 3600, 86_400}
        assert found[300]["oldest"] < 35.1 < found[3600]["newest"] + 0.2
        assert found[3600]["oldest"] < 401.1 < found[86_400]["oldest"]
        assert found[86_400]["rollups"] <= 3
        shown = year()
        assert sum(shown["results"]) == (3 * 288 + 2) * 5
        assert set(shown["p50_ms"]) == {7.0093}, "the middle of the 39th bucket"
    finally:
        pipeline.delete_targets(stack, target)
    assert row("SELECT FROM coarse_rollups WHERE target = '{target}'") == []
