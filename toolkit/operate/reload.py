"""Reading changed configuration again, without a restart, and making sure that it is what runs."""

from __future__ import annotations

from collections.abc import Callable

from toolkit.checkout.project import Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.engine.stack_http import Request
from toolkit.observe.grafana import login
from toolkit.observe.stack import Stack, url
from toolkit.operate import verify_reload
from toolkit.validate import programs
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.programs import Skipped

AT_START_ONLY = ("loki", "tempo", "jaeger")
"""They read their configuration when they start."""


def reload(project: Project, docker: Docker) -> None:
    """Check the files with the programs, let those that run read them, and compare what they have with the files.

    Raises:
        ToolkitError: a program refuses a file, or has not taken all of it.
    """
    stack = Stack.read(project, docker)
    wanted = [name for name in STEPS if name in stack.running]
    if not wanted:
        raise ToolkitError("there is nothing to reload", "nothing of the monitoring runs", "run: invoke up")
    require_valid(stack)
    for name in wanted:
        again, verify = STEPS[name]
        again(project, stack)
        say(f"  {name}: {verify(stack)}", "ok")
    for name in AT_START_ONLY:
        if name in stack.running:
            say(f"  {name}: reads its configuration when it starts: docker compose restart {name}", "warning")


def require_valid(stack: Stack) -> None:
    """Return if the programs of all running services accept the files.

    Raises:
        ToolkitError: naming the program, the file and what it says.
    """
    checkout = Checkout(stack.root)
    refused: list[str] = []
    for program in programs.PROGRAMS:
        if program.service not in stack.running or not program.loaded:
            continue
        try:
            found = list(programs.validate(checkout, program))
        except BrokenFileError as error:
            found = [error.finding]
        refused += [str(each) for each in found if isinstance(each, Finding) and each.problem]
        # Its service runs, so that it can be run as well: nothing is loaded unseen.
        refused += [f"{each.name} could not be run: {each.why}" for each in found if isinstance(each, Skipped)]
    if refused:
        why = "\n  ".join(refused)
        raise ToolkitError("the configuration is refused, and was not loaded", why, "correct the line that is named")


def _post(service: str) -> Callable[[Project, Stack], None]:
    """Tells a program over HTTP to read its files again."""

    def again(_project: Project, stack: Stack) -> None:
        _send(stack, service, [Request.post(url(service, "/-/reload"), timeout=30)])

    return again


def _hangup(_project: Project, stack: Stack) -> None:
    """Tell the collector by a signal."""
    told = stack.docker.compose("kill", "--signal", "HUP", "otel-collector")
    stack.docker.check(told, "tell otel-collector to read its configuration")


def _provisioning(project: Project, stack: Stack) -> None:
    """Tell Grafana to read data sources and dashboards again."""
    paths = [f"/api/admin/provisioning/{part}/reload" for part in ("datasources", "dashboards")]
    _send(stack, "grafana", [Request(url("grafana", path), "POST", "", login(project)) for path in paths])


def _send(stack: Stack, service: str, requests: list[Request]) -> None:
    for answer in stack.fetch(requests):
        if answer.problem:
            raise ToolkitError(f"{service} refuses the new configuration", answer.problem, verify_reload.log(service))


STEPS: dict[str, tuple[Callable[[Project, Stack], None], Callable[[Stack], str]]] = {
    "prometheus": (_post("prometheus"), verify_reload.prometheus),
    "alertmanager": (_post("alertmanager"), verify_reload.alertmanager),
    "blackbox-exporter": (_post("blackbox-exporter"), verify_reload.blackbox_exporter),
    "otel-collector": (_hangup, verify_reload.otel_collector),
    "grafana": (_provisioning, lambda _stack: "data sources and dashboards read again"),
}
"""What is done for each program, and how it is seen to have taken the files."""
