"""Pages of lists: a cursor is the name that a page follows, so it stays valid if the list changes."""

import base64
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from netmon.states import ShownState
from netmon.target_lists import DEFAULT_PAGE_SIZE, TargetFilter
from netmon.target_models import Tag

MAX_PAGE_SIZE = 200
"""Other requests wait while a page is encoded: about 0.1 ms for each target."""
LINK: dict[str, Any] = {
    "description": 'The next page as `<URL>; rel="next"` (RFC 8288); missing on the last page.',
    "schema": {"type": "string"},
}
"""The header of a page in the OpenAPI document."""
X_CACHE: dict[str, Any] = {
    "description": "Source of the response: the cache (`hit`) or the database, because the cache had no entry (`miss`) "
    "or is unavailable (`bypass`).",
    "schema": {"enum": ["hit", "miss", "bypass"]},
}
"""The header of a cached response in the OpenAPI document."""


def name_in(cursor: str) -> str:
    """The name that a page follows; empty for the first page.

    Raises:
        ValueError: this is no cursor.
    """
    return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()


def cursor_after(name: str) -> str:
    """The cursor of the page that follows a name."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _valid_cursor(cursor: str) -> str:
    try:
        name = name_in(cursor)
    except ValueError:
        name = "\0"
    if "\0" in name:  # which PostgreSQL does not accept
        raise ValueError("not a cursor of this API: use the link to the next page, or omit the cursor")
    return cursor


Cursor = Annotated[
    str,
    Field(max_length=1000, description="The start of the page, from the link to it."),
    AfterValidator(_valid_cursor),
]


class TargetQuery(BaseModel):
    """The query parameters of a page."""

    model_config = ConfigDict(frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE, description="Targets on the page.")] = DEFAULT_PAGE_SIZE
    cursor: Cursor = ""
    state: Annotated[ShownState | None, Field(description="Only targets in this state.")] = None
    q: Annotated[
        str,
        Field(
            max_length=100,
            pattern=r"^[^\x00]*$",
            description="Only targets whose name or address contains this text, in upper or lower case.",
        ),
    ] = ""
    tag: Annotated[Tag | None, Field(description="Only targets with this tag.")] = None

    @property
    def chosen(self) -> TargetFilter:
        """The filter."""
        return TargetFilter(self.state, self.q, self.tag or "")

    @property
    def after(self) -> str:
        """The name that the page follows; empty for the first page."""
        return name_in(self.cursor)


def links(path: str, query: TargetQuery, last: str | None) -> dict[str, str]:
    """The header with the link to the page of `path` that follows the name `last`; none after the last page."""
    if last is None:
        return {}
    following = query.model_dump(exclude_defaults=True) | {"cursor": cursor_after(last)}
    return {"Link": f'<{path}?{urlencode(following)}>; rel="next"'}
