"""Reloads changed configuration without a restart, and verifies that the programs use it."""

from __future__ import annotations

from collections.abc import Callable

from toolkit.checkout.project import Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.engine.stack_http import Request
from toolkit.observe.grafana import authorization
from toolkit.observe.stack import Stack, url
from toolkit.operate import previous, verify_reload
from toolkit.validate import programs
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.programs import Skipped

AT_START_ONLY = ("loki", "tempo", "jaeger")
"""Programs that read their configuration only at start."""


def reload(project: Project, docker: Docker) -> None:
    """Validate the files, reload the running programs, and compare their live configuration with the files.

    Raises:
        ToolkitError: a program rejects a file, or has not loaded the whole of it.
    """
    previous.require_own_stack(project, docker)
    stack = Stack.read(project, docker)
    reloadable = [name for name in STEPS if name in stack.running]
    if not reloadable:
        raise ToolkitError("nothing to reload", "no monitoring service is running", "run: invoke up")
    require_valid(stack)
    for name in reloadable:
        trigger, verify = STEPS[name]
        trigger(project, stack)
        say(f"  {name}: {verify(stack)}", "ok")
    for name in AT_START_ONLY:
        if name in stack.running:
            say(f"  {name}: reads its configuration only at start; run: docker compose restart {name}", "warning")


def require_valid(stack: Stack) -> None:
    """Return if the programs of all running services accept the files.

    Raises:
        ToolkitError: a program rejects a file; the error names the program, the file and its message.
    """
    checkout = Checkout(stack.root)
    problems: list[str] = []
    for program in programs.PROGRAMS:
        if program.service not in stack.running or not program.loaded:
            continue
        try:
            found = list(programs.validate(checkout, program))
        except BrokenFileError as error:
            found = [error.finding]
        problems += [str(each) for each in found if isinstance(each, Finding) and each.problem]
        # The service runs, so its image is here: an unvalidated file is never loaded.
        problems += [f"{each.name} could not be run: {each.why}" for each in found if isinstance(each, Skipped)]
    if problems:
        why = "\n  ".join(problems)
        raise ToolkitError("the configuration is invalid and was not loaded", why, "fix the reported lines")


def _http_reload(service: str) -> Callable[[Project, Stack], None]:
    """A reload over HTTP."""

    def trigger(_project: Project, stack: Stack) -> None:
        _send(stack, service, [Request.post(url(service, "/-/reload"), timeout=30)])

    return trigger


def _reload_blackbox(_project: Project, stack: Stack) -> None:
    """Reload the blackbox exporter from inside its container: no other container but Prometheus reaches it."""
    reloaded = verify_reload.ask_blackbox(stack, "--post-data=", "/-/reload")
    if reloaded.code:
        why = " ".join(reloaded.stderr.split())
        raise ToolkitError(
            "blackbox-exporter rejects the new configuration", why, verify_reload.log_hint("blackbox-exporter")
        )


def _reload_collector(_project: Project, stack: Stack) -> None:
    """Reload the collector with SIGHUP."""
    signalled = stack.docker.compose("kill", "--signal", "HUP", "otel-collector")
    stack.docker.check(signalled, "send SIGHUP to otel-collector")


def _reload_grafana(project: Project, stack: Stack) -> None:
    """Reload Grafana's provisioned data sources and dashboards."""
    paths = [f"/api/admin/provisioning/{part}/reload" for part in ("datasources", "dashboards")]
    _send(stack, "grafana", [Request(url("grafana", path), "POST", "", authorization(project)) for path in paths])


def _send(stack: Stack, service: str, requests: list[Request]) -> None:
    for answer in stack.fetch(requests):
        if answer.problem:
            raise ToolkitError(
                f"{service} rejects the new configuration", answer.problem, verify_reload.log_hint(service)
            )


STEPS: dict[str, tuple[Callable[[Project, Stack], None], Callable[[Stack], str]]] = {
    "prometheus": (_http_reload("prometheus"), verify_reload.prometheus),
    "alertmanager": (_http_reload("alertmanager"), verify_reload.alertmanager),
    "blackbox-exporter": (_reload_blackbox, verify_reload.blackbox_exporter),
    "otel-collector": (_reload_collector, verify_reload.otel_collector),
    "grafana": (_reload_grafana, lambda _stack: "data sources and dashboards reloaded"),
}
"""The reload of each program, and the check that it uses the files."""
