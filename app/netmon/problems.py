"""Errors as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
ABOUT: dict[int, str] = {
    401: "No token, or a wrong one",
    404: "There is none",
    409: "It does not go together with what is there",
    413: "The body is too large",
    422: "The request is not valid; `errors` says where and why",
    429: "Too many are asked for; `Retry-After` says when to ask again",
    500: "A mistake of the service",
    503: "Something that is needed is away; `Retry-After` says when to ask again",
}
SCHEMA: dict[str, Any] = {
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["at", "message"],
                "properties": {"at": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def problem(status: int, detail: str | None = None, **members: object) -> JSONResponse:
    """An error response; `members` are further members of the problem object."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({**body, **members}, status, media_type=MEDIA_TYPE, headers=headers)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the description of a route: what it may answer instead, each as a problem."""
    return {status: {"description": ABOUT[status], "content": {MEDIA_TYPE: {"schema": SCHEMA}}} for status in statuses}


def install(app: FastAPI) -> None:
    """Let every error of `app` be answered as a problem."""

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        response = problem(error.status_code, error.detail if error.detail != phrase else None)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"at": "/".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid.", errors=errors)
