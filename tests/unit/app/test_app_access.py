"""Write access: valid and invalid tokens, and changes of the token file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import Depends

from netmon import access, web
from netmon.settings import SettingsError, load

pytestmark = pytest.mark.anyio

OLD, NEW = "an-old-token-of-the-tests", "a-new-token-of-the-tests"


@asynccontextmanager
async def served(environ: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    settings = load(environ, api=True)
    app = web.create_app(settings, "test")
    auth = access.TokenAuth(settings)
    app.include_router(access.router(auth))

    @app.put("/api/things", dependencies=[Depends(auth)])
    async def write() -> None: ...

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        yield client


def bearer(token: str | bytes) -> dict[bytes, bytes]:
    return {b"Authorization": b"Bearer " + (token if isinstance(token, bytes) else token.encode())}


@pytest.fixture
def file(environ: dict[str, str], tmp_path: Path) -> Path:
    """The token file."""
    path = tmp_path / "api_token"
    path.write_text(OLD)
    environ["API_TOKEN_FILE"] = str(path)
    return path


@pytest.mark.usefixtures("file")
async def test_a_valid_token_grants_write_access(environ: dict[str, str]) -> None:
    async with served(environ) as client:
        assert (await client.put("/api/things", headers=bearer(OLD))).status_code == 200
        answer = await client.get("/api/access", headers=bearer(OLD))
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    ("headers", "detail", "challenge"),
    [
        ({}, "requires a token", "Bearer"),
        ({"Authorization": OLD}, "requires a token", "Bearer"),
        ({"Authorization": f"Basic {OLD}"}, "requires a token", "Bearer"),
        ({"Authorization": "Bearer"}, "requires a token", "Bearer"),
        (bearer(NEW), "invalid", 'Bearer error="invalid_token"'),
        (bearer(OLD[:-1]), "invalid", 'Bearer error="invalid_token"'),
        (bearer(f"{OLD} {NEW}"), "invalid", 'Bearer error="invalid_token"'),
        (bearer("ü".encode()), "invalid", 'Bearer error="invalid_token"'),
        (bearer(b"\xff"), "invalid", 'Bearer error="invalid_token"'),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("PUT", "/api/things"), ("GET", "/api/access")])
async def test_a_missing_or_invalid_token_is_rejected(
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    headers: dict[bytes, bytes],
    detail: str,
    challenge: str,
    method: str,
    path: str,
) -> None:
    async with served(environ) as client:
        answer = await client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == challenge
    output = answer.text + "".join(capsys.readouterr())
    assert OLD not in output
    assert NEW not in output


async def test_each_line_of_the_token_file_is_valid_and_changes_take_effect_immediately(
    environ: dict[str, str], file: Path
) -> None:
    async with served(environ) as client:

        async def accepted() -> list[bool]:
            answers = [await client.get("/api/access", headers=bearer(token)) for token in (OLD, NEW)]
            return [answer.status_code == 204 for answer in answers]

        seen = []
        for content in (OLD, f"{OLD}\n{NEW}\n", f"{NEW}\r\n\r\n{OLD}", NEW):
            file.write_text(content)
            seen.append(await accepted())
    assert seen == [[True, False], [True, True], [True, True], [False, True]]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
async def test_an_unusable_token_file_denies_write_access(
    environ: dict[str, str], file: Path, content: bytes | None
) -> None:
    async with served(environ) as client:
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        for token in (OLD, ""):
            answer = await client.put("/api/things", headers=bearer(token))
            assert answer.status_code == (503 if token else 401)


async def test_the_token_of_the_environment_is_valid_without_a_file(environ: dict[str, str]) -> None:
    async with served({**environ, "API_TOKEN": OLD}) as client:
        assert (await client.put("/api/things", headers=bearer(OLD))).status_code == 200
        assert (await client.put("/api/things", headers=bearer(NEW))).status_code == 401
    assert OLD not in repr(load({**environ, "API_TOKEN": OLD}))


async def test_the_token_file_takes_precedence_over_the_variable(environ: dict[str, str], file: Path) -> None:
    file.write_text(NEW)
    async with served({**environ, "API_TOKEN": OLD}) as client:
        assert (await client.put("/api/things", headers=bearer(NEW))).status_code == 200
        assert (await client.put("/api/things", headers=bearer(OLD))).status_code == 401


@pytest.mark.usefixtures("file")
async def test_the_openapi_document_describes_the_token(environ: dict[str, str]) -> None:
    async with served(environ) as client:
        document = (await client.get("/api/openapi.json")).json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["paths"]["/api/things"]["put"]["security"] == [{"token": []}]
    assert "401" in document["paths"]["/api/access"]["get"]["responses"]


def test_only_the_api_requires_a_token(environ: dict[str, str]) -> None:
    del environ["API_TOKEN"]
    load(environ)
    with pytest.raises(SettingsError) as caught:
        load(environ, api=True)
    assert "API_TOKEN_FILE is not set" in caught.value.problems[0]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_an_unusable_token_file_is_named_at_startup(
    environ: dict[str, str], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "api_token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load({**environ, "API_TOKEN_FILE": str(path)}, api=True)
    assert [str(path) in problem for problem in caught.value.problems] == [True]
