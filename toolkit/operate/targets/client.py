"""The API of targets, as the tasks use it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.application import Send, route
from toolkit.engine.compose import Docker
from toolkit.engine.health import container_states
from toolkit.engine.stack_http import Request, Response

READ_SECONDS = 10.0
CHANGE_SECONDS = 150.0
"""More than the application's own limit of a bulk change."""
PAGE_SIZE = 200

Json = Mapping[str, Any]


class InvalidTargetsError(Exception):
    """The application refuses targets; ``errors`` has the location and the message of each mistake."""

    def __init__(self, errors: Sequence[Json]) -> None:
        super().__init__(f"{len(errors)} invalid fields")
        self.errors = errors


@dataclass(frozen=True)
class Client:
    """Requests to the application of a stack.

    Every method raises a ToolkitError if the application does not answer, or with an error.
    """

    base: str
    send: Send
    access: Mapping[str, str]

    @classmethod
    def of(cls, project: Project, docker: Docker) -> Client:
        """The client of a checkout's stack.

        Raises:
            ToolkitError: the application is not running, or the token is unusable.
        """
        project.require_setup()
        found = container_states(docker)
        if not any(state.service == "app" and state.status == "running" for state in found):
            raise ToolkitError("the application is not running", "it stores and validates the targets", "invoke up")
        return cls(*route(docker, found), credentials.authorization(project))

    def targets(self) -> Iterator[dict[str, Any]]:
        """All targets by name, as the API returns them to those who may change them."""
        return self._pages(f"/api/targets?limit={PAGE_SIZE}")

    def windows(self) -> Iterator[dict[str, Any]]:
        """All maintenance windows by name, as the API returns them."""
        return self._pages(f"/api/maintenance?limit={PAGE_SIZE}")

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        while path:
            response = self._answer(Request(self.base + path, headers=dict(self.access), timeout=READ_SECONDS))
            page = response.json()
            if not isinstance(page, list):
                raise _unexpected(response)
            yield from page
            path = _next(response.headers.get("link", ""))

    def defaults(self) -> dict[str, dict[str, Any]]:
        """The default of each setting, by the name of its schema: ``TargetBody``, ``HttpSpec`` and others."""
        response = self._answer(Request(f"{self.base}/api/openapi.json", timeout=READ_SECONDS))
        document = response.json()
        if not isinstance(document, dict):
            raise _unexpected(response)
        schemas = document.get("components", {}).get("schemas", {})
        return {
            schema: {
                name: each["default"] if "default" in each else _EMPTY.get(each.get("type"))
                for name, each in found.get("properties", {}).items()
                if name not in found.get("required", ())
            }
            for schema, found in schemas.items()
        }

    def change(
        self, targets: Sequence[Json], windows: Sequence[Json] | None, *, prune: bool, dry_run: bool
    ) -> dict[str, Any]:
        """Create and update targets and maintenance windows by name; ``prune`` deletes the others.

        Args:
            targets: The targets.
            windows: The maintenance windows; None leaves all of them as they are.
            prune: Delete targets and windows that are not given.
            dry_run: Change nothing.

        Returns:
            The changes; in a dry run, those that would be made.

        Raises:
            InvalidTargetsError: targets are not valid; nothing was changed.
        """
        flags = {"prune": str(prune).lower(), "dry_run": str(dry_run).lower()}
        request = Request(
            f"{self.base}/api/configuration?{urlencode(flags)}",
            "PUT",
            json.dumps({"targets": targets, "maintenance": windows}),
            {"Content-Type": "application/json", **self.access},
            CHANGE_SECONDS,
        )
        found: dict[str, Any] = self._answer(request).json()
        return found

    def renew_heartbeat_url(self, target: str) -> str:
        """Give a target of kind heartbeat a new URL; returns its path."""
        path: str = self._answer(self._heartbeat_url("POST", target)).json()["path"]
        return path

    def revoke_heartbeat_url(self, target: str) -> None:
        """Remove the URL of a target of kind heartbeat."""
        self._answer(self._heartbeat_url("DELETE", target))

    def _heartbeat_url(self, method: str, target: str) -> Request:
        path = f"{self.base}/api/targets/{target}/heartbeat-url"
        return Request(path, method, "", dict(self.access), READ_SECONDS)

    def _answer(self, request: Request) -> Response:
        [response] = self.send([request])
        if response.ok:
            return response
        problem = response.json()
        problem = problem if isinstance(problem, dict) else {}
        if response.status == 422 and problem.get("errors"):
            raise InvalidTargetsError(problem["errors"])
        if not response.status:
            raise ToolkitError("the application does not answer", response.error, "invoke status shows its state")
        fixes = {
            401: "write the token that the application accepts into secrets/api_token.txt",
            404: "the running application has no such route: invoke deploy",
            405: "the running application has no such route: invoke deploy",
            409: "correct the targets, or run this again",
            413: "split the file",
        }
        why = str(problem.get("detail") or response.problem)
        raise ToolkitError(
            f"the application refuses the request ({response.status})",
            why,
            fixes.get(response.status, "invoke logs --service=app shows the reason"),
        )


_EMPTY: Mapping[object, Any] = {"array": [], "object": {}}
"""The values of settings without a default in the schema: empty lists and maps."""


def _next(link: str) -> str:
    """The path in the header of a page with the link to the next one; empty on the last page."""
    return link.partition("<")[2].partition(">")[0]


def _unexpected(response: Response) -> ToolkitError:
    return ToolkitError("the application does not answer as expected", response.url, "is it the Network Monitor?")
