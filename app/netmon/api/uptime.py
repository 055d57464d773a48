"""The API of uptime by time, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field, TypeAdapter, field_validator

from netmon.api import paging
from netmon.api.paging import TargetQuery
from netmon.problems import responses
from netmon.target_reader import TargetReader
from netmon.uptime import PERIOD_PATTERN, NamedUptime, TargetUptime, Uptime

CSV = "text/csv"
CSV_PAGE_SIZE = 200
"""Targets that are read and encoded at once for a CSV file, while other requests wait."""
STATES = ("observed", "up", "degraded", "down", "maintenance", "unobserved")
_COLUMNS = ("target", "name", "tags", "period", "started_at", "ended_at", "uptime_percent")
HEADER = ",".join((*_COLUMNS, *(f"{state}_minutes" for state in STATES))) + "\r\n"
"""The first line of a CSV file."""

Format = Annotated[Literal["json", "csv"] | None, Query(description="Overrides the header `Accept`.")]
Accept = Annotated[str, Header(include_in_schema=False)]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_Uptimes = TypeAdapter(list[NamedUptime])
_CONTENT: dict[str, Any] = {"content": {CSV: {"schema": {"type": "string"}}}}
_PAGE: dict[int | str, dict[str, Any]] = {200: _CONTENT | {"headers": {"Link": paging.LINK}}}
_TARGET: dict[int | str, dict[str, Any]] = {200: _CONTENT | {"headers": {"X-Cache": paging.X_CACHE}}}


class UptimeQuery(TargetQuery):
    """The query parameters of a page of uptimes."""

    period: Annotated[
        str,
        Field(
            pattern=PERIOD_PATTERN,
            description="A span that ends now (24h, 7d, 30d, 90d), or a calendar month in UTC.",
            examples=["30d", "2026-01"],
        ),
    ] = "30d"
    format: Annotated[Literal["json", "csv"] | None, Field(description="Overrides the header `Accept`.")] = None

    @field_validator("period")
    @classmethod
    def _begun(cls, period: str) -> str:
        if period[4:5] == "-" and period > f"{datetime.now(UTC):%Y-%m}":
            raise ValueError(f"the month {period} has not begun yet: choose an earlier one")
        return period


def router(reader: TargetReader) -> APIRouter:
    """`GET /api/uptime` and `GET /api/targets/{id}/uptime`, answered by `reader`."""
    routes = APIRouter(prefix="/api", tags=["targets"])

    @routes.get("/uptime", response_model=list[NamedUptime], responses=_PAGE | responses(422, 503))
    async def uptimes(query: Annotated[UptimeQuery, Query()], accept: Accept = "") -> Response:
        """List the uptime of targets within a period, by name.

        A JSON response is a page, like that of the list of targets. A CSV file has all targets from `cursor` on.
        """
        if _wants_csv(query.format, accept):
            return _csv(await _file(reader, query), f"uptime-{query.period}")
        found = await reader.uptimes(query.chosen, query.period, query.after, query.limit + 1)
        page = found[: query.limit]
        last = page[-1].name if len(found) > query.limit else None
        headers = {"Vary": "Accept", **paging.links("/api/uptime", query, last)}
        return Response(_Uptimes.dump_json(page), media_type="application/json", headers=headers)

    @routes.get(
        "/targets/{target_id}/uptime", response_model=TargetUptime, responses=_TARGET | responses(404, 422, 503)
    )
    async def uptime(target_id: UUID, format: Format = None, accept: Accept = "") -> Response:  # noqa: A002
        """Get the uptime of a target in the last 24 hours, 7, 30 and 90 days, and by calendar month."""
        found, cache = await reader.uptime(target_id)
        if _wants_csv(format, accept):
            periods = (*found.spans, *found.months)
            rows = [NamedUptime.named(each, found.target, found.name, found.tags) for each in periods]
            return _csv(HEADER + encode(rows), f"uptime-{target_id}")
        headers = {"X-Cache": cache, "Vary": "Accept"}
        return Response(found.model_dump_json(), media_type="application/json", headers=headers)

    return routes


def _wants_csv(chosen: str | None, accept: str) -> bool:
    types = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    return chosen == "csv" or (chosen is None and CSV in types)


async def _file(reader: TargetReader, query: UptimeQuery) -> str:
    """The CSV file of all chosen targets from the cursor on."""
    parts, after = [HEADER], query.after
    while page := await reader.uptimes(query.chosen, query.period, after, CSV_PAGE_SIZE):
        parts.append(encode(page))
        after = page[-1].name
    return "".join(parts)


def _csv(content: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Vary": "Accept"}
    return Response(content, media_type=f"{CSV}; charset=utf-8; header=present", headers=headers)


def encode(rows: Iterable[NamedUptime]) -> str:
    """The lines of a CSV file (RFC 4180), with durations in minutes.

    A text that a spreadsheet would evaluate as a formula is preceded by an apostrophe.
    """
    file = io.StringIO()
    csv.writer(file).writerows(
        (
            row.target,
            _text(row.name),
            _text(" ".join(row.tags)),
            row.period,
            _time(row.started_at),
            _time(row.ended_at),
            row.uptime_percent,
            *_minutes(row),
        )
        for row in rows
    )
    return file.getvalue()


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _minutes(row: Uptime) -> list[float]:
    return [round(getattr(row, f"{state}_seconds") / 60, 2) for state in STATES]
