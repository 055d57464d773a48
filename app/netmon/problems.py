"""Error responses as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
DESCRIPTIONS: dict[int, str] = {
    400: "The body cannot be parsed",
    401: "Missing or invalid token",
    404: "Not found",
    409: "Conflict with the current state",
    413: "The body is too large",
    422: "Invalid request; `errors` lists the fields and reasons",
    429: "Rate limit exceeded; retry after `Retry-After` seconds",
    500: "Internal error",
    503: "A dependency is unavailable; retry after `Retry-After` seconds",
}


class FieldError(BaseModel):
    """An invalid field of a request."""

    at: Annotated[str, Field(examples=["body/url"])]
    message: str


class Problem(BaseModel):
    """An error response (RFC 9457)."""

    type: Literal["about:blank"]
    title: Annotated[str, Field(examples=["Not Found"])]
    status: int
    detail: str | None = None
    errors: list[FieldError] = Field(default_factory=list)


def problem(status: int, detail: str | None = None, **members: object) -> JSONResponse:
    """An error response; `members` are additional members of the problem object."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({**body, **members}, status, media_type=MEDIA_TYPE, headers=headers)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI descriptions of the error responses of a route."""
    return {status: {"description": DESCRIPTIONS[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Return every error of `app` as a problem, and describe it in the OpenAPI document."""
    generate = app.openapi

    def described() -> dict[str, Any]:
        document = generate()
        _describe(document)
        return document

    app.openapi = described  # type: ignore[method-assign]

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        response = problem(error.status_code, error.detail if error.detail != phrase else None)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"at": "/".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is invalid.", errors=errors)


def _describe(document: dict[str, Any]) -> None:
    """Describe the error responses of an OpenAPI document as problems, except those of the health endpoints."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (FieldError, Problem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas[model.__name__] = {name: value for name, value in schema.items() if name != "$defs"}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                for body_error in (400, 413):
                    operation["responses"].setdefault(str(body_error), {"description": DESCRIPTIONS[body_error]})
            for status, response in operation["responses"].items():
                if int(status) == HTTPStatus.UNPROCESSABLE_ENTITY:
                    response["description"] = DESCRIPTIONS[422]
                if int(status) in DESCRIPTIONS and "health" not in operation.get("tags", ()):
                    response["content"] = content
