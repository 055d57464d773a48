"""Lists of targets, read page by page from PostgreSQL, each with its state and last result."""

from dataclasses import dataclass

from netmon.database import QUERY_TIMEOUT_SECONDS, Database, Row
from netmon.models import Target, TargetView
from netmon.states import URGENCY, ShownState
from netmon.supervision import deadline
from netmon.target_store import RESULT_COLUMNS, snapshot

DEFAULT_PAGE_SIZE = 100
"""Targets on a page of the API."""
OVERVIEW_PAGE_SIZE = 50
"""Targets on a page of the status page."""

_COLUMNS = ", ".join(f'targets."{name}"' for name in Target.model_fields)
_TARGETS = "targets JOIN standings ON target = id"
_SHOWN = "CASE WHEN enabled THEN state ELSE 'paused' END"
# Of a spec only the parts of its address: a search must not reveal the values of headers.
_SEARCHED = "lower(concat_ws(' ', name, spec ->> 'url', spec ->> 'host', spec ->> 'name'))"
_HAS_STATE = f"(%(state)s::text IS NULL OR {_SHOWN} = %(state)s)"
_MATCHES = f"{_HAS_STATE} AND (%(text)s = '' OR position(lower(%(text)s) IN {_SEARCHED}) > 0)"


@dataclass(frozen=True, slots=True)
class TargetFilter:
    """Selects the targets in a state (None: any) whose name or address contains a text, in upper or lower case."""

    state: ShownState | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """The number of all targets by state, and the number of those that a filter selects."""

    by_state: dict[ShownState, int]
    matching: int


class TargetLists:
    """Reads lists of targets.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_name(self, chosen: TargetFilter, after: str, limit: int) -> list[TargetView]:
        """The targets whose names follow `after`, by name."""
        page = f"""
            WHERE (lower(name), name) > (lower(%(after)s), %(after)s) AND {_MATCHES}
            ORDER BY lower(name), name LIMIT %(limit)s"""
        return await self._views(page, {**_parameters(chosen), "after": after, "limit": limit})

    async def by_urgency(self, chosen: TargetFilter, offset: int, limit: int) -> list[TargetView]:
        """Targets by the urgency of their states, then by name."""
        page = f"""
            WHERE {_MATCHES} ORDER BY array_position(%(urgency)s::text[], {_SHOWN}), lower(name), name
            LIMIT %(limit)s OFFSET %(offset)s"""
        parameters = {**_parameters(chosen), "urgency": list(URGENCY), "limit": limit, "offset": offset}
        return await self._views(page, parameters)

    async def counts(self, chosen: TargetFilter) -> TargetCounts:
        """Count targets."""
        query = f"""
            SELECT {_SHOWN} AS state, count(*) AS targets, count(*) FILTER (WHERE {_MATCHES}) AS matching
            FROM {_TARGETS} GROUP BY 1"""  # noqa: S608 - the names are this code's own
        rows = await self._all(query, _parameters(chosen))
        found = {row["state"]: row["targets"] for row in rows}
        return TargetCounts({state: found.get(state, 0) for state in URGENCY}, sum(row["matching"] for row in rows))

    async def _views(self, page: str, parameters: Row) -> list[TargetView]:
        # The page is chosen first, so that only its targets are read as a whole.
        query = f"""
            WITH chosen AS (
                SELECT id, row_number() OVER () AS number
                FROM (SELECT id FROM {_TARGETS} {page}) AS ordered)
            SELECT {_COLUMNS}, state, since, recent, to_jsonb(last) AS latest
            FROM chosen JOIN targets USING (id) JOIN standings ON target = id LEFT JOIN LATERAL (
                SELECT {RESULT_COLUMNS} FROM probes
                WHERE probes.target = targets.id::text AND finished_at IS NOT NULL
                ORDER BY finished_at DESC LIMIT 1) AS last ON true
            ORDER BY number"""  # noqa: S608 - the names are this code's own
        return [_view(row) for row in await self._all(query, parameters)]

    async def _all(self, query: str, parameters: Row) -> list[Row]:
        return await deadline(self._database.all(query, parameters), QUERY_TIMEOUT_SECONDS)


def _parameters(chosen: TargetFilter) -> Row:
    return {"state": chosen.state, "text": chosen.text}


def _view(row: Row) -> TargetView:
    found = snapshot(row)
    target = Target.model_validate({name: row[name] for name in Target.model_fields})
    return TargetView.combine(target, found.standing, found.latest)
