"""Probes on demand: rate-limited, and accepted only once they are queued."""

from http import HTTPStatus
from math import ceil

from starlette.exceptions import HTTPException

from netmon import tracing
from netmon.database import Database
from netmon.jobs import JobQueue
from netmon.kinds import KINDS
from netmon.logs import logger
from netmon.models import Job, Plan, Probe
from netmon.supervision import deadline
from netmon.token_bucket import TokenBucket

ACCEPT_TIMEOUT_SECONDS = 5.0

log = logger(__name__)


class RateLimiter:
    """Limits the probes of one process.

    It is shared by all clients, since they have the same token. The queue, which it protects, can take the rates of all
    replicas.

    Args:
        rate: probes per second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._bucket = TokenBucket(rate)

    def acquire(self) -> None:
        """Use the rate of one probe.

        Raises:
            HTTPException: 429 if the rate is exceeded; its `Retry-After` is the time until a probe is available.
        """
        if wait := self._bucket.wait_seconds():
            seconds = str(ceil(wait))
            detail = f"The rate limit of {self._rate:g} probes per second is exceeded. Retry in {seconds} s."
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": seconds})
        self._bucket.take()


class OnDemandProbes:
    """Accepts requests for probes.

    Args:
        database: stores the queued probe.
        jobs: publishes its job.
        rate_limiter: limits the rate of requests.
    """

    def __init__(self, database: Database, jobs: JobQueue, rate_limiter: RateLimiter) -> None:
        self._database = database
        self._jobs = jobs
        self._rate_limiter = rate_limiter

    async def request(self, plan: Plan, target: str, generation: int | None = None) -> Probe:
        """Store a probe and queue it with priority.

        Args:
            plan: how the target is probed.
            target: the id of a monitored target, or the key of a URL.
            generation: that of the standing of a monitored target.

        Raises:
            HTTPException: 409 for a kind that is not probed, 429 if the rate limit is exceeded.
            psycopg.OperationalError, netmon.jobs.QueueUnavailableError, TimeoutError: the probe is not accepted.
        """
        if KINDS[plan.spec.kind].prober is None:
            detail = f"A target of kind {plan.spec.kind} is not probed: it reports itself."
            raise HTTPException(HTTPStatus.CONFLICT, detail)
        self._rate_limiter.acquire()
        job = Job.of(plan, target, tracing.ids().get("trace_id"), generation)

        async def accept() -> None:
            # The row becomes visible only if RabbitMQ has confirmed the job. If the commit fails after that, the job is
            # executed nevertheless, and its worker stores the complete probe.
            async with self._database.queueing(job.probe):
                await self._jobs.publish(job, urgent=True)

        await deadline(accept(), ACCEPT_TIMEOUT_SECONDS)
        log.info("probe accepted", probe=str(job.id), target=target)
        return job.probe
