"""Alerts of a live stack: those that fire, and a receiver that records the arrival time of each notification."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import requests

from tests.live import webhook_receiver
from tests.live.stack import CHECKOUT, Stack, until
from toolkit.operate.silences import CLEARING

WATCHDOG = "Watchdog"
"""The only alert that fires on a healthy system."""

AlertKey = tuple[str, str]
"""Name and service of an alert."""

RUNBOOKS = "docs/alerts"
DASHBOARDS = "monitoring/grafana/dashboards"
HOSTNAME = "alert-receiver"


class ReceivedAlert(NamedTuple):
    """An alert of a notification; ``at`` is the Unix time of its arrival."""

    at: float
    path: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def key(self) -> AlertKey:
        """Name and service."""
        return self.labels["alertname"], self.labels["service"]


@dataclass(frozen=True)
class AlertReceiver:
    """A container that receives Alertmanager's channels ``webhook`` and ``deadmansswitch``.

    The application is a receiver too, but not while the application or one of its dependencies is unavailable.
    """

    stack: Stack

    WEBHOOK = "/webhook"
    SWITCH = "/switch"
    CHANNELS = "app,webhook,deadmansswitch"

    @classmethod
    @contextmanager
    def running(cls, stack: Stack) -> Iterator[AlertReceiver]:
        """Run the receiver beside a running stack whose ALERT_RECEIVERS are `CHANNELS`."""
        for name, path in (("webhook_url", cls.WEBHOOK), ("deadmansswitch_url", cls.SWITCH)):
            file = stack.root / "secrets" / "alertmanager" / name
            file.write_text(f"http://{HOSTNAME}:{webhook_receiver.PORT}{path}\n")
            file.chmod(0o644)
        receiver = cls(stack)
        program = Path(webhook_receiver.__file__).read_text(encoding="utf-8")
        # The project's label: `Stack.destroy` removes the container too.
        stack.docker(
            "run", "--detach", "--name", receiver.name, f"--label=com.docker.compose.project={stack.name}",
            f"--network={stack.name}_monitoring-network", f"--network-alias={HOSTNAME}", "--entrypoint=python",
            stack.container("worker")["Config"]["Image"], "-c", program,
        )  # fmt: skip
        try:
            yield receiver
        finally:
            stack.docker("rm", "--force", receiver.name)

    @property
    def name(self) -> str:
        """The name of the container."""
        return f"{self.stack.name}-{HOSTNAME}"

    def received(self, since: float = 0, path: str = WEBHOOK) -> list[ReceivedAlert]:
        """The alerts that arrived on a channel after a Unix time, oldest first."""
        notifications = map(json.loads, self.stack.docker("logs", self.name).splitlines())
        return [
            ReceivedAlert(each["arrived"], each["path"], alert["status"], alert["labels"], alert["annotations"])
            for each in notifications
            if each["path"] == path and each["arrived"] >= since
            for alert in each["alerts"]
        ]

    def wait(self, key: AlertKey, status: str, since: float, within: float) -> ReceivedAlert:
        """Wait for the first notification about an alert after a Unix time."""

        def first() -> ReceivedAlert | None:
            return next((each for each in self.received(since) if (each.key, each.status) == (key, status)), None)

        try:
            return until(first, within, f"the notification that {key} is {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}; now firing: {sorted(firing(self.stack))}") from None


def firing(stack: Stack) -> set[AlertKey]:
    """The alerts that fire in Prometheus; none while it does not answer."""
    try:
        body = requests.get(stack.url("/api/v1/alerts", "PROMETHEUS_PORT"), timeout=5).json()
    except requests.RequestException:
        return set()
    labels = [alert["labels"] for alert in body["data"]["alerts"] if alert["state"] == "firing"]
    return {(each["alertname"], each["service"]) for each in labels}


def wait_until_quiet(stack: Stack, within: float = 420) -> None:
    """Wait until only `WATCHDOG` fires; rates over five minutes keep alerts firing that long after a fault.

    Alerts about the host are ignored, since other processes run on the machine.
    """

    def quiet() -> bool:
        try:
            active = requests.get(stack.url("/api/v2/alerts", "ALERTMANAGER_PORT"), timeout=5).json()
        except requests.RequestException:
            return False
        keys = {(each["labels"]["alertname"], each["labels"]["service"]) for each in active}
        return (WATCHDOG, "prometheus") in keys and not unexpected(keys | firing(stack))

    try:
        until(quiet, within, "the alerts to be resolved")
    except AssertionError as error:
        raise AssertionError(f"{error}; still firing: {sorted(firing(stack))}") from None


def unexpected(alerts: Iterable[AlertKey]) -> list[AlertKey]:
    """The alerts that must not fire on a healthy stack; those about the host depend on other processes."""
    return sorted((name, service) for name, service in alerts if name != WATCHDOG and service != "host")


def fired_recently(stack: Stack, seconds: float) -> set[AlertKey]:
    """The alerts that have fired at any time in the last seconds, however briefly."""
    query = f'last_over_time(ALERTS{{alertstate="firing"}}[{seconds:.0f}s])'
    answer = requests.get(stack.url("/api/v1/query", "PROMETHEUS_PORT"), params={"query": query}, timeout=10).json()
    return {(each["metric"]["alertname"], each["metric"]["service"]) for each in answer["data"]["result"]}


def wait_until_inactive(stack: Stack, services: Iterable[str], within: float = 120) -> None:
    """Wait until no alert of the services is active or pending: operations do not silence those that are active."""
    wanted = set(services)

    def alerting(service: str, url: str) -> set[str]:
        answer = json.loads(stack.exec(service, "wget", "-q", "-O", "-", url))
        listed = answer["data"]["alerts"] if "data" in answer else answer
        return {each["labels"].get("service", "") for each in listed}

    def inactive() -> bool:
        return not wanted & (
            alerting("prometheus", "http://127.0.0.1:9090/api/v1/alerts")
            | alerting("alertmanager", "http://127.0.0.1:9093/api/v2/alerts")
        )

    until(inactive, within, f"the alerts of {', '.join(sorted(wanted))} to be resolved")


def require_ending_silences(stack: Stack, why: str, output: str = "") -> None:
    """Fail unless there are silences whose comment begins like this, and each ends in a moment or has ended.

    The output of the operation names the services that were not silenced.
    """
    listed = json.loads(stack.exec("alertmanager", "wget", "-q", "-O", "-", "http://127.0.0.1:9093/api/v2/silences"))
    ends = [datetime.fromisoformat(each["endsAt"]) for each in listed if each["comment"].startswith(why)]
    assert ends, f"no silence: {why}\n{output}"
    assert max(ends) <= datetime.now(UTC) + CLEARING, "a silence does not end in a moment"


def require_complete(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """Fail unless a notification has severity, service, summary, description, dashboard and runbook."""
    assert labels["severity"] in {"critical", "warning"}, labels
    assert labels["service"], labels
    assert {"summary", "description", "dashboard_url", "runbook_url"} <= annotations.keys(), annotations
    assert not re.search(r"\{\{|<no value>|%!", "".join(annotations.values())), annotations
    runbook = annotations["runbook_url"]
    assert runbook.endswith(f"/{labels['alertname']}.md"), runbook
    assert (CHECKOUT / RUNBOOKS / runbook.rpartition("/")[2]).is_file(), runbook
    dashboard = annotations["dashboard_url"]
    assert list((CHECKOUT / DASHBOARDS).glob(f"*/{dashboard.rpartition('/')[2]}.json")), dashboard
