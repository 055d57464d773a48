"""The examples of the documents, run on a running stack."""

from __future__ import annotations

import re

import pytest
import requests

from tests.live.documents import code_block, json_values, run
from tests.live.stack import Stack, until


def test_the_example_of_a_probe_on_demand_works(stack: Stack) -> None:
    [probe] = json_values(run(stack, code_block(stack, "docs/operations.md", "sh", "/api/probes")))
    assert stack.result(probe["id"])["status"] == "succeeded"
    latest = stack.url(f"/api/targets/{probe['target']}/latest")
    until(lambda: requests.get(latest, timeout=5).status_code == 200, 10, "the latest state of the target")


def test_the_examples_of_the_api_return_the_documented_fields(stack: Stack) -> None:
    page = "docs/api.md"
    first, further = code_block(stack, page, "sh", '"spec"'), code_block(stack, page, "sh", "target=")
    [statistics], [refused], [uptime] = (
        json_values(code_block(stack, page, "json", word)) for word in ("p50_ms", "about:blank", "unobserved_seconds")
    )

    added, listed = json_values(run(stack, first))
    assert added["id"] in [each["id"] for each in listed]
    address = stack.url(f"/api/targets/{added['id']}")
    until(lambda: requests.get(address, timeout=5).json()["standing"]["state"] == "up", 20, "the target to be up")
    assert requests.patch(address, json={"enabled": False}, timeout=5).json() == refused

    measured = requests.get(f"{address}/uptime", timeout=5).json()
    assert {tuple(each) for each in measured["spans"] + measured["months"]} == {tuple(uptime)}

    access = first.splitlines()[0]
    windows = json_values(run(stack, f"{access}\n{code_block(stack, page, 'sh', 'weekly').replace('ID', added['id'])}"))
    # The weekly one is in effect on two mornings of the week.
    assert windows[0]["weekly"]["days"] == ["tue", "thu"]
    assert windows[1]["active"] is False
    assert windows[1]["target"] == added["id"]
    run(stack, code_block(stack, page, "sh", "format=csv").replace("ID", added["id"]))
    assert "Application" in (stack.root / "uptime.csv").read_text()

    probe, counted, paused = json_values(run(stack, f"{access}\n{further.replace('ID', added['id'])}"))
    assert probe["target"] == added["id"]
    assert list(counted) == list(statistics)
    assert (counted["window"], counted["failed"], counted["uptime_percent"]) == ("1h", 0, 100)
    assert paused["enabled"] is False
    assert requests.get(address, timeout=5).status_code == 404, "the last command must delete the target"
    weekly = stack.url(f"/api/maintenance/{windows[0]['id']}")
    assert requests.delete(weekly, headers=stack.authorization(), timeout=5).status_code == 204


def test_the_commands_of_the_tour_work(stack: Stack) -> None:
    """The container of the tour is renamed, since its documented name may be in use."""
    page, server = "docs/tour.md", f"{stack.name}-shop"

    def follow(words: str) -> str:
        return run(stack, code_block(stack, page, "sh", words).replace("shop", server))

    def state() -> str:
        return str(requests.get(target, timeout=5).json()["standing"]["state"])

    def spans() -> set[str]:
        found = json_values(follow("trace="))[0]["data"] or [{"spans": []}]
        return {span["operationName"] for span in found[0]["spans"]}

    follow("--name shop")
    [added] = json_values(follow("/api/targets"))
    target = stack.url(f"/api/targets/{added['id']}")
    try:
        until(lambda: state() == "up", 20, "the target to be up")
        follow("docker stop")
        until(lambda: state() == "down", 30, "the target to be down")
        until(lambda: "active" in follow("amtool"), 30, "the alert")
        assert '"state": "down"' in follow("grep")
        if stack.store("traces") == "jaeger":
            until(lambda: spans() >= {"schedule", "probe", "process monitor.state"}, 15, "the trace")
    finally:
        requests.delete(target, headers=stack.authorization(), timeout=5)
        stack.docker("rm", "--force", server, check=False)
    until(lambda: "active" not in follow("amtool"), 30, "the alert to resolve")


@pytest.mark.parametrize(
    ("command", "answer"),
    [("exec db", r"\(1 row\)"), ("exec rabbitmq", r"^probes\t\d+$"), ("exec redis", r"^redis_version:")],
)
def test_documented_commands_inside_services_work(stack: Stack, command: str, answer: str) -> None:
    [line] = [
        line for line in code_block(stack, "docs/operations.md", "sh", "exec redis").splitlines() if command in line
    ]
    assert re.search(answer, run(stack, line), re.MULTILINE)
