"""Requests to the application: over its published port, else from inside the stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from toolkit.engine import http_agent, stack_http
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState
from toolkit.engine.stack_http import Request, Response

Send = Callable[[Sequence[Request]], list[Response]]
"""Sends requests in parallel and returns the responses in the same order."""


def route(docker: Docker, found: Sequence[ServiceState]) -> tuple[str, Send]:
    """The application's base URL and how to send requests to it; ``found`` has the states of its containers."""
    ports = [port for state in found if state.service == "app" for port in state.ports if port.inside == 3000]
    if not ports:
        return "http://app:3000", lambda requests: stack_http.fetch(docker, requests)

    def send(requests: Sequence[Request]) -> list[Response]:
        with ThreadPoolExecutor(http_agent.AT_ONCE) as pool:
            answers = pool.map(http_agent.send, map(asdict, requests))
            return [Response(request.url, **answer) for request, answer in zip(requests, answers, strict=True)]

    return f"http://{ports[0].address}", send
