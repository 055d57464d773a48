"""Logging: one JSON object per line on stdout, for this code and the libraries."""

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from netmon import tracing

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

FIRST_KEYS = ("timestamp", "level", "service", "message")


def configure(service: str, level: str) -> None:
    """Log to stdout as JSON.

    Args:
        service: the value of `service` in each line.
        level: the minimum level of the lines of this code; that of libraries is at least `warning`, since their debug
            output may contain URLs with credentials.
    """
    own = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _trace_ids,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
    ]

    def order(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
        event["service"] = service
        return {key: event.pop(key) for key in FIRST_KEYS if key in event} | dict(event)

    written = (order, structlog.processors.JSONRenderer(ensure_ascii=False, default=str))
    structlog.configure(
        # Not through `logging`, which would take most of the time of a line: each probe logs one.
        processors=[*shared, *written],
        logger_factory=_Stdout,
        wrapper_class=structlog.make_filtering_bound_logger(own),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(own, logging.WARNING), force=True)
    logging.getLogger("netmon").setLevel(own)  # for code that uses `logging` directly
    # These log every attempt to reconnect; `netmon.supervision` logs an outage once.
    for noisy in ("aio_pika", "aiokafka", "aiormq", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


class _Stdout(structlog.WriteLogger):
    """Writes the lines of the named logger to stdout."""

    def __init__(self, name: str) -> None:
        super().__init__(sys.stdout)
        self.name = name


def _trace_ids(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    event.update(tracing.ids())
    return event


def logger(name: str) -> "FilteringBoundLogger":
    """The logger of a module."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger
