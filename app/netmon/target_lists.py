"""Lists of targets, read page by page from PostgreSQL, each with its state and last result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from netmon import standings
from netmon.database import QUERY_TIMEOUT_SECONDS, Database, Row
from netmon.states import IN_MAINTENANCE, IS_STALE, SHOWN_STATE, URGENCY, ShownState
from netmon.supervision import deadline
from netmon.target_models import Target, TargetView
from netmon.target_store import LAST_RESULT, snapshot

DEFAULT_PAGE_SIZE = 100
"""Targets on a page of the API."""
OVERVIEW_PAGE_SIZE = 50
"""Targets on a page of the status page."""

_COLUMNS = ", ".join(f'targets."{name}"' for name in Target.model_fields)
_TARGETS = "targets JOIN standings ON target = id"
# By code point, not by the locale: sorting 20,000 names is ten times faster, and a cursor is valid in any database.
_BY_NAME = 'lower(name) COLLATE "C", name COLLATE "C"'
# Of a spec only the parts of its address: a search must not reveal the values of headers, nor those of a query.
_SEARCHED = "lower(concat_ws(' ', name, split_part(spec ->> 'url', '?', 1), spec ->> 'host', spec ->> 'name'))"


@dataclass(frozen=True, slots=True)
class TargetFilter:
    """Selects the targets in a state, with a text in their name or address (in upper or lower case), and with a tag."""

    state: ShownState | None = None
    text: str = ""
    tag: str = ""


class TargetLists:
    """Reads lists of targets.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_name(self, chosen: TargetFilter, after: str, limit: int, *, whole: bool = False) -> list[TargetView]:
        """The targets whose names follow `after`, by name; with `whole` those who may change them read it."""
        page = f"""
            WHERE ({_BY_NAME}) > (lower(%(after)s), %(after)s) AND {_condition(chosen)}
            ORDER BY {_BY_NAME} LIMIT %(limit)s"""
        return await self._views(page, {**_parameters(chosen), "after": after, "limit": limit}, whole=whole)

    async def public(self, limit: int) -> list[TargetView]:
        """The first targets on the public status page by name."""
        page = f"WHERE public ORDER BY {_BY_NAME} LIMIT %(limit)s"
        return await self._views(page, {"limit": limit})

    async def columns_by_name(self, columns: str, chosen: TargetFilter, after: str, limit: int) -> list[Row]:
        """Columns of the targets whose names follow `after` and of their standings, by name."""
        query = f"""
            SELECT {columns} FROM {_TARGETS}
            WHERE ({_BY_NAME}) > (lower(%(after)s), %(after)s) AND {_condition(chosen)}
            ORDER BY {_BY_NAME} LIMIT %(limit)s"""  # noqa: S608 - the names are this code's own
        return await self._all(query, {**_parameters(chosen), "after": after, "limit": limit})

    async def by_urgency(
        self, chosen: TargetFilter, counts: Mapping[ShownState, int], offset: int, limit: int
    ) -> list[TargetView]:
        """Targets by the urgency of their states, then by name.

        Args:
            chosen: selects the targets.
            counts: the number of those with its text and its tag by state. With it, only states on this page are read,
                in the order of an index; sorting all targets would take ten times as long.
            offset: how many targets precede the page.
            limit: how many targets the page has.
        """
        found: list[TargetView] = []
        for state in [chosen.state] if chosen.state else URGENCY:
            if offset < counts[state] and len(found) < limit:
                condition = _condition(replace(chosen, state=state))
                page = f"WHERE {condition} ORDER BY {_BY_NAME} LIMIT %(limit)s OFFSET %(offset)s"
                found += await self._views(page, {**_parameters(chosen), "offset": offset, "limit": limit - len(found)})
            offset = max(offset - counts[state], 0)
        return found

    async def counts(self, chosen: TargetFilter) -> dict[ShownState, int]:
        """The number of targets with the text and the tag of a filter, by state."""
        query = f"""
            SELECT {SHOWN_STATE} AS state, count(*) AS number
            FROM {_TARGETS} WHERE {_condition(replace(chosen, state=None))} GROUP BY 1"""  # noqa: S608 - names of this code
        found = {row["state"]: row["number"] for row in await self._all(query, _parameters(chosen))}
        return {state: found.get(state, 0) for state in URGENCY}

    async def stored_at(self) -> datetime | None:
        """When the newest result was stored; None without targets."""
        [row] = await self._all("SELECT max(stored_at) AS stored_at FROM standings", {})
        stored_at: datetime | None = row["stored_at"]
        return stored_at

    async def _views(self, page: str, parameters: Row, *, whole: bool = False) -> list[TargetView]:
        # The page is chosen first, so that only its targets are read as a whole.
        query = f"""
            WITH chosen AS (
                SELECT id, row_number() OVER () AS number
                FROM (SELECT id FROM {_TARGETS} {page}) AS ordered)
            SELECT {_COLUMNS}, {standings.COLUMNS}, to_jsonb(last) AS latest
            FROM chosen JOIN targets USING (id) JOIN standings ON target = id LEFT JOIN {LAST_RESULT}
            ORDER BY number"""  # noqa: S608 - the names are this code's own
        return [_view(row, whole=whole) for row in await self._all(query, parameters)]

    async def _all(self, query: str, parameters: Row) -> list[Row]:
        return await deadline(self._database.all(query, parameters), QUERY_TIMEOUT_SECONDS)


def _condition(chosen: TargetFilter) -> str:
    """The filter in SQL, without conditions that select all targets: each variant has a plan of its own."""
    conditions = ["true"]
    match chosen.state:
        case None:
            pass
        case "paused":
            conditions.append("NOT enabled")
        case "maintenance":
            conditions.append(IN_MAINTENANCE)
        case "stale":
            conditions.append(f"{IS_STALE} AND NOT ({IN_MAINTENANCE})")
        case _:
            conditions.append(f"enabled AND state = '{chosen.state}' AND NOT ({IS_STALE}) AND NOT ({IN_MAINTENANCE})")
    if chosen.text:
        conditions.append(f"position(lower(%(text)s) IN {_SEARCHED}) > 0")
    if chosen.tag:
        conditions.append("%(tag)s = ANY(tags)")
    return " AND ".join(conditions)


def _parameters(chosen: TargetFilter) -> Row:
    return {"text": chosen.text, "tag": chosen.tag}


def _view(row: Row, *, whole: bool) -> TargetView:
    found = snapshot(row)
    target = Target.model_validate({name: row[name] for name in Target.model_fields})
    return TargetView.combine(target, found.standing, found.latest, found.stored_at, whole=whole)
