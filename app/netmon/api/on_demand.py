"""Probes that somebody asks for: accepted only if the queue has them, and so many a second."""

import time
from http import HTTPStatus
from math import ceil

from starlette.exceptions import HTTPException

from netmon import tracing
from netmon.database import Database
from netmon.jobs import JobQueue
from netmon.logs import logger
from netmon.models import Job, Plan, Probe
from netmon.supervision import deadline

ACCEPT_TIMEOUT = 5.0
BURST_SECONDS = 10
"""So long a rate may have been saved up."""

log = logger(__name__)


class Allowance:
    """A token bucket: `rate` probes a second, and at once what was not used in the last BURST_SECONDS.

    It is for all clients together, since behind the proxy they have one address and all of them the same token, and for
    one process: what it protects, the queue, bears the rates of all replicas.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = self._left = max(rate * BURST_SECONDS, 1)
        self._at = time.monotonic()

    def take(self) -> None:
        """Take one.

        Raises:
            HTTPException: 429, there is none; its header says when there will be.
        """
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._rate, self._most)
        self._at = now
        if self._left < 1:
            seconds = str(ceil((1 - self._left) / self._rate))
            detail = f"More than {self._rate:g} probes a second are asked for; ask again in {seconds} s."
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": seconds})
        self._left -= 1


class OnDemand:
    """Takes requests for probes."""

    def __init__(self, database: Database, jobs: JobQueue, allowance: Allowance) -> None:
        self._database = database
        self._jobs = jobs
        self._allowance = allowance

    async def request(self, plan: Plan, target: str) -> Probe:
        """Store a probe and queue it before the others.

        Raises:
            HTTPException: 429, too many are asked for.
            psycopg.OperationalError, netmon.jobs.QueueUnavailableError, TimeoutError: it is not accepted.
        """
        self._allowance.take()
        job = Job.of(plan, target, tracing.ids().get("trace_id"))

        async def accept() -> None:
            # The row becomes visible only if RabbitMQ has confirmed the job. Should the commit fail after that, the
            # job is carried out all the same, and its worker stores the whole record.
            async with self._database.queueing(job.probe):
                await self._jobs.publish(job, urgent=True)

        await deadline(accept(), ACCEPT_TIMEOUT)
        log.info("probe accepted", probe=str(job.id), target=target)
        return job.probe
