"""Write access: requests that change something need a bearer token. Read access is open to all clients.

The tokens are the lines of a file, and each of them is accepted: during a rotation, the old and the new one. The file
is read for each write request (about 20 µs), so that a change takes effect immediately, without a restart.
"""

import hmac
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from netmon.logs import logger
from netmon.settings import Settings
from netmon.supervision import describe

RESPONSES: dict[int | str, dict[str, Any]] = {401: {"description": "Missing or invalid token"}}
"""OpenAPI responses of a route that requires a token."""

log = logger(__name__)

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token from the file secrets/api_token.txt")


class TokenAuth:
    """A dependency of routes that requires a valid token."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.api_token_file
        self._token = settings.api_token

    async def __call__(self, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        """Check the token of a request.

        Raises:
            HTTPException: 401 for a missing or invalid token, 503 if the token file cannot be read or is empty.
        """
        if credentials is None:
            detail = "Write access requires a token in the header Authorization: Bearer TOKEN."
            raise HTTPException(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
        if not self._is_valid(credentials.credentials):
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "The token is invalid.", headers)

    def recognises(self, request: Request) -> bool:
        """Whether a request that needs no token has a valid one, with which it may read more."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            return scheme.lower() == "bearer" and self._is_valid(token.strip())
        except HTTPException:  # no token can be read: everyone reads the same
            return False

    def _is_valid(self, token: str) -> bool:
        # All tokens are compared, each in constant time, so that the response time reveals nothing.
        matches = [hmac.compare_digest(known.encode(), token.encode()) for known in self._tokens()]
        return any(matches)

    def _tokens(self) -> Sequence[str]:
        if self._file is None:
            return [self._token] if self._token else []
        try:
            tokens = self._file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            log.error("cannot read token file", reason=describe(error))  # noqa: TRY400 - the reason is sufficient
            tokens = []
        if not tokens:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "The token file cannot be read or is empty.")
        return tokens


def router(auth: TokenAuth) -> APIRouter:
    """`GET /api/access`, with which a client checks its token before it changes anything."""
    routes = APIRouter(prefix="/api/access", tags=["access"])

    @routes.get("", status_code=HTTPStatus.NO_CONTENT, dependencies=[Depends(auth)], responses=RESPONSES)
    async def access() -> None:
        """Check the token; the response is empty if it is valid."""

    return routes
