"""The registry client: manifests, tags, sizes and authentication."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.httpserver import Route, server
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.images import registry, sizes, tags
from toolkit.images.logins import basic_credentials
from toolkit.images.registry import ImageName, Registries, RegistryError

SEND = Registries._send
CREDENTIALS = b64encode(b"me:secret").decode()
NOT_FOUND: Route = (404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, {})


@dataclass
class Server:
    """A registry with routes by path; ``login`` is its challenge, ``accepts`` the Authorization that it accepts."""

    port: int = 0
    routes: dict[str, Route | Callable[[], Route]] = field(default_factory=dict)
    login: str = ""
    accepts: str = "nothing"
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: dict[str, str], _body: str) -> Route:
        """The response to a request."""
        authorization = headers.get("Authorization", "")
        self.requests.append((method, path, authorization))
        if path.startswith("/token"):
            return (200, {"token": "t0"}, {})
        if self.login and authorization != self.accepts:
            return (401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"WWW-Authenticate": self.login})
        route = self.routes.get(path, NOT_FOUND)
        return route() if callable(route) else route

    def name(self, repository: str = "library/redis", tag: str = "8.1.2-alpine") -> ImageName:
        """The name of an image in this registry."""
        return ImageName.parse(f"127.0.0.1:{self.port}/{repository}:{tag}")

    def manifest(self, repository: str, reference: str, document: dict[str, Any]) -> None:
        """Serve a manifest."""
        self.routes[f"/v2/{repository}/manifests/{reference}"] = (200, document, {})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr(Registries, "_send", SEND)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    found = Server()
    with server(found.answer) as port:
        found.port = port
        yield found


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("redis", ImageName("docker.io", "library/redis", "latest"), "https://registry-1.docker.io/v2/library/redis"),
        ("docker.io/library/redis:8", ImageName("docker.io", "library/redis", "8"), None),
        ("apache/kafka:4.3.1", ImageName("docker.io", "apache/kafka", "4.3.1"), None),
        ("quay.io/a/b:v1", ImageName("quay.io", "a/b", "v1"), "https://quay.io/v2/a/b"),
        ("mirror:5000/a:1@sha256:0", ImageName("mirror:5000", "a", "1", "sha256:0"), "https://mirror:5000/v2/a"),
        ("localhost:5000/a:1", ImageName("localhost:5000", "a", "1"), "http://localhost:5000/v2/a"),
        ("[::1]:5000/a:1", ImageName("[::1]:5000", "a", "1"), "http://[::1]:5000/v2/a"),
        ("localhost.example/a:1", ImageName("localhost.example", "a", "1"), "https://localhost.example/v2/a"),
    ],
)
def test_a_name_is_parsed_like_by_docker(text: str, name: ImageName, url: str | None) -> None:
    assert ImageName.parse(text) == name
    assert url is None or name.url == url


def test_exists_uses_head_requests(served: Server) -> None:
    served.manifest("library/redis", "8.1.2-alpine", {})
    assert Registries().exists(served.name())
    assert not Registries().exists(served.name(tag="gone"))
    assert {method for method, _, _ in served.requests} == {"HEAD"}, "does not count as a pull"


@pytest.mark.parametrize(
    ("route", "why", "wait"),
    [
        ((429, {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}, {"Retry-After": "7"}), "429", 7),
        ((503, "<html>", {"Retry-After": "Sun, 29 Nov 2026 18:00:00 GMT"}), "503 Service Unavailable", None),
        ((403, {"errors": []}, {}), "403", None),
    ],
)
def test_an_error_has_status_message_and_retry_after(
    served: Server, route: Route, why: str, wait: float | None
) -> None:
    served.routes["/v2/library/redis/manifests/8.1.2-alpine"] = route
    for request in (Registries().exists, Registries().manifest):
        with pytest.raises(RegistryError, match=why) as error:
            request(served.name())
        assert (error.value.status, error.value.retry_after) == (route[0], wait)


def test_an_unreachable_registry_is_an_error_with_status_0() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registries, "_send", SEND)
        with pytest.raises(RegistryError, match=r"no response from localhost:1 \(ConnectionError\)") as error:
            Registries().tags(ImageName.parse("localhost:1/a:1"))
    assert error.value.status == 0


@pytest.mark.parametrize("body", ["<html>", "[]"])
def test_a_response_that_is_not_a_json_object_is_an_error(served: Server, body: str) -> None:
    served.routes["/v2/library/redis/manifests/8.1.2-alpine"] = (200, body, {})
    with pytest.raises(RegistryError, match="is not a JSON object"):
        Registries().manifest(served.name())


def test_tags_are_read_to_the_last_page(served: Server) -> None:
    path = "/v2/library/redis/tags/list?"
    served.routes[f"{path}n=1000"] = (200, {"tags": ["1", "2"]}, {"Link": f'<{path}n=1000&last=2>; rel="next"'})
    served.routes[f"{path}n=1000&last=2"] = (200, {"tags": ["3"]}, {"Link": '<list?last=3>; rel="next"'})
    served.routes[f"{path}last=3"] = (200, {"tags": None}, {})
    assert Registries().tags(served.name()) == ["1", "2", "3"]


def test_a_next_page_elsewhere_and_endless_pages_are_errors(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/v2/library/redis/tags/list?n=1000"
    served.routes[path] = (200, {"tags": []}, {"Link": '<http://elsewhere.test/>; rel="next"'})
    with pytest.raises(RegistryError, match="continues at another address, http://elsewhere"):
        Registries().tags(served.name())
    served.routes[path] = (200, {"tags": []}, {"Link": f'<{path}>; rel="next"'})
    monkeypatch.setattr(registry, "PAGES", 3)
    with pytest.raises(RegistryError, match="more than 3 pages"):
        Registries().tags(served.name())


class TestLogin:
    """Anonymous tokens, tokens for an account, and basic authentication."""

    def test_a_token_is_requested_once_per_repository(self, served: Server) -> None:
        served.login = f'Bearer realm="http://127.0.0.1:{served.port}/token",service="registry.test"'
        served.accepts = "Bearer t0"
        served.manifest("library/redis", "8.1.2-alpine", {})
        registries = Registries()
        assert registries.exists(served.name())
        assert registries.exists(served.name())
        tokens = [path for _, path, _ in served.requests if path.startswith("/token")]
        assert tokens == ["/token?scope=repository%3Alibrary%2Fredis%3Apull&service=registry.test"]
        assert served.requests[1][2] == "", "anonymous"

    def test_a_token_is_requested_with_the_account_of_docker_login(self, served: Server, tmp_path: Path) -> None:
        auths = {f"127.0.0.1:{served.port}": {"auth": CREDENTIALS}}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        served.login = f'Bearer realm="http://127.0.0.1:{served.port}/token",scope="repository:x:pull"'
        served.accepts = "Bearer t0"
        served.manifest("library/redis", "8.1.2-alpine", {"layers": []})
        assert Registries().manifest(served.name()) == {"layers": []}
        assert served.requests[1] == ("GET", "/token?scope=repository%3Ax%3Apull", f"Basic {CREDENTIALS}")

    def test_basic_authentication(self, served: Server, tmp_path: Path) -> None:
        served.login, served.accepts = 'Basic realm="x"', f"Basic {CREDENTIALS}"
        served.manifest("library/redis", "8.1.2-alpine", {})
        with pytest.raises(RegistryError, match="authentication required") as error:
            Registries().exists(served.name())
        assert error.value.status == 401
        auths = {f"127.0.0.1:{served.port}": {"auth": CREDENTIALS}}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        assert Registries().exists(served.name())

    def test_a_password_is_never_sent_over_plain_http(self, served: Server) -> None:
        served.login = 'Bearer realm="http://auth.test/token"'
        with pytest.raises(
            RegistryError, match=r"the authentication server http://auth\.test/token does not use HTTPS"
        ):
            Registries().exists(served.name())

    def test_a_refused_token_is_an_error(self, served: Server) -> None:
        served.login = f'Bearer realm="http://127.0.0.1:{served.port}/token"'
        with pytest.raises(RegistryError, match="401 Unauthorized"):
            Registries().exists(served.name())

    @pytest.mark.parametrize(
        ("config", "answer", "found"),
        [
            (None, None, ""),
            ("{", None, ""),
            ("[]", None, ""),
            ('{"auths": {"registry.test": {}}}', None, ""),
            ('{"auths": {"registry.test": {"auth": "QQ=="}}}', None, "QQ=="),
            ('{"credsStore": "x"}', Result(0, '{"Username": "me", "Secret": "secret"}', ""), CREDENTIALS),
            ('{"credHelpers": {"registry.test": "x"}}', Result(0, '{"Username": "me", "Secret": "secret"}', ""),
             CREDENTIALS),
            ('{"credsStore": "x"}', Result(0, '{"Username": "<token>", "Secret": "secret"}', ""), ""),
            ('{"credsStore": "x"}', Result(1, "credentials not found", ""), ""),
            ('{"credsStore": "x"}', ToolkitError("cannot run docker-credential-x"), ""),
        ],
    )  # fmt: skip
    def test_credentials_of_logins(
        self, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        config: str | None, answer: Result | ToolkitError | None, found: str,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        if config:
            (tmp_path / "config.json").write_text(config)
        if answer:
            docker.answer("docker-credential-x", "get", by=answer)
        assert basic_credentials("registry.test") == found
        assert docker.inputs == (["registry.test"] if answer else [])


class TestSizes:
    """Download sizes for one platform."""

    def test_layers_are_those_of_the_platform(self, served: Server) -> None:
        def entry(architecture: str, digest: str, system: str = "linux") -> dict[str, Any]:
            return {"digest": digest, "platform": {"os": system, "architecture": architecture}}

        platforms = [entry("arm64", "sha256:a"), entry("amd64", "sha256:w", "windows"), entry("amd64", "sha256:b")]
        served.manifest("library/redis", "1", {"manifests": platforms})
        served.manifest("library/redis", "sha256:b", {"layers": [{"digest": "sha256:1", "size": 7}]})
        plain = {"layers": [{"digest": "sha256:1", "size": 7}, {"digest": "sha256:2", "size": 30}]}
        served.manifest("library/plain", "1", plain)
        served.manifest("library/other", "1", {"manifests": [entry("arm64", "sha256:a")]})
        names = [f"127.0.0.1:{served.port}/library/{name}:1" for name in ("redis", "plain", "other", "gone")]
        found = sizes.layers(names, "amd64", seconds=10)
        assert found == {names[0]: {"sha256:1": 7}, names[1]: {"sha256:1": 7, "sha256:2": 30}}
        assert sizes.total(found.values()) == 37, "a shared layer counts once"
        assert sizes.layers([], "amd64", seconds=10) == {}

    def test_a_slow_registry_is_left_out_after_the_timeout(self, served: Server) -> None:
        def slow() -> Route:
            time.sleep(2)
            return NOT_FOUND

        served.routes["/v2/library/redis/manifests/1"] = slow
        started = time.monotonic()
        assert sizes.layers([f"127.0.0.1:{served.port}/library/redis:1"], "amd64", seconds=0.1) == {}
        assert time.monotonic() - started < 1.5


KNOWN = """
8.1.2-alpine 8.1.10-alpine 8.1.11-alpine-rc1 8.1.99-alpine3.24 8.1-alpine 9.0.1-alpine 9.0.1-bookworm 8 8.1.3 8.1.4-rc1
v1.2.4 v1.2.5-rc.0 1.2.9 18.10-trixie 19.0-trixie 18.6.1-trixie 4-slim latest
"""


@pytest.mark.parametrize(
    ("tag", "line", "newest"),
    [
        ("8.1.2-alpine", "8.1.10-alpine", "9.0.1-alpine"),
        ("8.1.10-alpine", "", "9.0.1-alpine"),
        ("9.0.0-alpine", "9.0.1-alpine", ""),
        ("9.0.1-alpine", "", ""),
        ("8.1.2", "8.1.3", ""),
        ("v1.2.3", "v1.2.4", ""),
        ("18.6-trixie", "18.10-trixie", "19.0-trixie"),
        ("3-slim", "4-slim", ""),
        ("latest", "", ""),
    ],
)
def test_newer_tags_are_of_the_same_variant(tag: str, line: str, newest: str) -> None:
    assert tags.newer(tag, KNOWN.split()) == (line, newest)


def test_every_pinned_tag_is_checked(served: Server, project: Project) -> None:
    mirror = f"127.0.0.1:{served.port}"
    project.env_file.write_text(f"REGISTRY={mirror}\nREGISTRY_QUAY=localhost:1\n")
    served.manifest("library/redis", "8.10.2-alpine", {})
    served.manifest("library/caddy", "2.11.4-alpine", {})
    served.routes["/v2/library/redis/tags/list?n=1000"] = (200, {"tags": ["8.10.3-alpine", "9.0.0-alpine"]}, {})
    found = {each.name.partition("/")[2]: each for each in tags.pinned_tags(project)}
    redis = found["library/redis:8.10.2-alpine"]
    assert (redis.exists, redis.line, redis.newest) == (True, "8.10.3-alpine", "9.0.0-alpine")
    caddy = found["library/caddy:2.11.4-alpine"]
    assert (caddy.exists, caddy.layers) == (True, ("docker-compose.prod.yml",))
    assert caddy.problem.startswith("cannot list its tags: 404")
    assert found["library/maven:3-eclipse-temurin-21"].exists is False, "bases of builds are pinned as well"
    quay = found["prometheuscommunity/postgres-exporter:v0.20.1"]
    assert quay.exists is None
    assert "no response from localhost:1" in quay.problem
