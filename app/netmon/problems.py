"""Errors as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
ABOUT: dict[int, str] = {
    400: "The body cannot be read",
    401: "No token, or a wrong one",
    404: "There is none",
    409: "It does not go together with what is there",
    413: "The body is too large",
    422: "The request is not valid; `errors` says where and why",
    429: "Too many are asked for; `Retry-After` says when to ask again",
    500: "A mistake of the service",
    503: "Something that is needed is away; `Retry-After` says when to ask again",
}


class Wrong(BaseModel):
    """A part of a request that is not valid."""

    at: Annotated[str, Field(examples=["body/url"])]
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: Literal["about:blank"]
    title: Annotated[str, Field(examples=["Not Found"])]
    status: int
    detail: str | None = None
    errors: list[Wrong] = Field(default_factory=list)


def problem(status: int, detail: str | None = None, **members: object) -> JSONResponse:
    """An error response; `members` are further members of the problem object."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({**body, **members}, status, media_type=MEDIA_TYPE, headers=headers)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the description of a route: what it may answer instead, each as a problem."""
    return {status: {"description": ABOUT[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Let every error of `app` be answered as a problem, and described as one."""
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
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not valid.", errors=errors)


def _describe(document: dict[str, Any]) -> None:
    """Let the error responses of an OpenAPI document be problems, but for those of the health endpoints."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (Wrong, Problem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas[model.__name__] = {name: value for name, value in schema.items() if name != "$defs"}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                for unreadable in (400, 413):
                    operation["responses"].setdefault(str(unreadable), {"description": ABOUT[unreadable]})
            for status, response in operation["responses"].items():
                if int(status) == HTTPStatus.UNPROCESSABLE_ENTITY:
                    response["description"] = ABOUT[422]
                if int(status) in ABOUT and "health" not in operation.get("tags", ()):
                    response["content"] = content
