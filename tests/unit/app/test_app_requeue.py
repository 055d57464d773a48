"""Accepted probes whose jobs are lost are queued again."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from netmon.jobs import QueueUnavailableError
from netmon.models import Job, Plan
from netmon.requeue import MARGIN_SECONDS, requeue
from netmon.secret_values import masked_url
from netmon.specs import HttpSpec
from netmon.target_store import PlannedTarget

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KNOWN = uuid4()
PLAN = Plan(spec=HttpSpec(url="https://example.org/", method="HEAD"), timeout_seconds=3)


def row(target: str, url: str = "https://example.org/") -> dict[str, Any]:
    return {"id": uuid4(), "url": url, "target": target, "kind": "http", "requested_at": NOW, "trace_id": None}


class Database:
    """A fake database with queued probes."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows

    async def all(self, query: str, parameters: tuple[float]) -> list[dict[str, Any]]:
        assert "status = 'queued'" in query
        assert parameters == (MARGIN_SECONDS,)
        return list(self.rows)


class Targets:
    """One target."""

    async def planned(self, target: UUID) -> PlannedTarget | None:
        return PlannedTarget(PLAN, 7) if target == KNOWN else None


class Queue:
    """A fake queue, which takes a number of jobs."""

    def __init__(self, capacity: int = 10) -> None:
        self.jobs: list[Job] = []
        self.capacity = capacity

    async def publish_again(self, job: bytes) -> None:
        if len(self.jobs) == self.capacity:
            raise QueueUnavailableError("not connected")
        self.jobs.append(Job.model_validate_json(job))


async def again(queue: Any, *rows: dict[str, Any]) -> int:
    database: Any = Database(*rows)
    targets: Any = Targets()
    return await requeue(database, targets, queue, 4)


async def test_a_probe_of_a_url_has_the_plan_that_follows_from_it() -> None:
    queue, probe = Queue(), row("https:example.org:443:1", "https://example.org/x")
    assert await again(queue, probe) == 1
    [job] = queue.jobs
    assert (job.id, job.target, job.requested_at) == (probe["id"], probe["target"], NOW)
    assert (job.plan.spec.address, job.plan.timeout_seconds, job.generation) == ("https://example.org/x", 4, None)


async def test_a_probe_of_a_url_whose_query_is_masked_is_left_to_end_as_failed() -> None:
    queue, probe = Queue(), row("https:example.org:443:1", masked_url("https://example.org/x?y=1"))
    assert await again(queue, probe) == 0
    assert queue.jobs == []


async def test_a_probe_of_a_target_has_its_present_plan_and_generation() -> None:
    queue = Queue()
    assert await again(queue, row(str(KNOWN))) == 1
    assert (queue.jobs[0].plan, queue.jobs[0].generation) == (PLAN, 7)


async def test_a_probe_of_a_deleted_target_is_left_to_end_as_failed() -> None:
    queue = Queue()
    assert await again(queue, row(str(uuid4())), row(str(KNOWN))) == 1
    assert [job.target for job in queue.jobs] == [str(KNOWN)]


async def test_a_queue_that_does_not_accept_is_an_error() -> None:
    queue = Queue(capacity=1)
    with pytest.raises(QueueUnavailableError):
        await again(queue, row(str(KNOWN)), row(str(KNOWN)))
    assert len(queue.jobs) == 1
