"""Who may write: whoever shows a token. Reading is open to all who reach the API.

The tokens stand in a file, one a line, and each of them is accepted: while one takes the place of another, both are.
The file is read for each request that writes (some 20 µs), so that a change of it holds at once, without a restart.
"""

import hmac
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from netmon.logs import logger
from netmon.settings import Settings
from netmon.supervision import describe

RESPONSES: dict[int | str, dict[str, Any]] = {401: {"description": "No token, or a wrong one"}}
"""For the description of a route that asks for a token."""

log = logger(__name__)

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token of the file secrets/api_token.txt")


class Writer:
    """A dependency of routes: the request shows a token that lets it write."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.api_token_file
        self._token = settings.api_token

    async def __call__(self, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        """Return if it does.

        Raises:
            HTTPException: 401 without a token or with a wrong one, 503 where the file of tokens cannot be used.
        """
        if shown is None:
            detail = "Writing needs a token, in the header Authorization: Bearer TOKEN."
            raise HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
        # Each is compared, whatever the others were, in a time that does not tell how much of it was right.
        matches = [hmac.compare_digest(token.encode(), shown.credentials.encode()) for token in self._tokens()]
        if not any(matches):
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "The token is wrong.", headers)

    def _tokens(self) -> Sequence[str]:
        if self._file is None:
            return [self._token] if self._token else []
        try:
            tokens = self._file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            log.error("tokens not readable", reason=describe(error))  # noqa: TRY400 - the reason says all
            tokens = []
        if not tokens:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "The file of tokens cannot be read, or is empty.")
        return tokens


def router(writer: Writer) -> APIRouter:
    """`GET /api/access`, which tells a client whether its token is right before it has anything to write."""
    routes = APIRouter(prefix="/api/access", tags=["access"])

    @routes.get("", status_code=HTTPStatus.NO_CONTENT, dependencies=[Depends(writer)], responses=RESPONSES)
    async def access() -> None:
        """The token lets its bearer write."""

    return routes
