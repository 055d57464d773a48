"""Targets as code on a running stack: apply, diff, export, and a header whose value is a secret."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.live import pipeline
from tests.live.stack import Stack, until

OWN = "targets-of-this-test.yml"


class Code:
    """The file of targets, and the targets of the application."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.mark = uuid4().hex[:8]

    def write(self, *entries: str, windows: str = "") -> None:
        """Write the file; ``%`` in an entry stands for the name of this test."""
        text = "defaults:\n  interval_seconds: 5\n  tags: [live-test]\ntargets:\n" + "".join(entries) + windows
        (self.stack.root / OWN).write_text(text.replace("%", self.mark))

    def run(self, task: str, *options: str, code: int = 0) -> str:
        """Run a task with the file; it ends with this exit code."""
        done = self.stack.invoke(f"targets.{task}", f"--file={OWN}", *options, check=False)
        assert done.returncode == code, f"{task} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def stored(self) -> dict[str, dict[str, Any]]:
        """The targets of this test, without their states."""
        answer = requests.get(self.stack.url(f"/api/targets?q={self.mark}"), timeout=10)
        parts = ("id", "name", "spec", "interval_seconds", "retries", "tags", "updated_at")
        return {each["name"]: {part: each[part] for part in parts} for each in answer.json()}


SHOP = "- {name: Shop %, spec: {kind: tcp, host: app, port: 3000}}\n"
MAIL = "- {name: Mail %, spec: {kind: tcp, host: db, port: 5432}, retries: 1}\n"


@pytest.fixture
def code(stack: Stack) -> Iterator[Code]:
    """A file, and a stack without targets before and after the test."""
    clear(stack)
    yield Code(stack)
    clear(stack)
    (stack.root / OWN).unlink(missing_ok=True)


def clear(stack: Stack) -> None:
    url, access = stack.url("/api/configuration?prune=true"), stack.authorization()
    empty: dict[str, list[Any]] = {"targets": [], "maintenance": []}
    assert requests.put(url, json=empty, headers=access, timeout=30).status_code == 200


def test_apply_diff_and_export(code: Code) -> None:
    stack = code.stack
    code.write(SHOP, MAIL)
    assert "confirmation required" in code.run("apply", code=1)
    assert code.stored() == {}
    assert "2 to create" in code.run("diff", code=1)
    assert "2 created" in code.run("apply", "--yes")
    stored = code.stored()
    assert {name.split()[0] for name in stored} == {"Shop", "Mail"}
    assert {each["interval_seconds"] for each in stored.values()} == {5}
    assert "nothing to change" in code.run("apply", "--yes")
    code.run("diff")

    mail = stored[f"Mail {code.mark}"]["id"]
    changed = requests.patch(
        stack.url(f"/api/targets/{mail}"), json={"retries": 2}, headers=stack.authorization(), timeout=10
    )
    assert changed.status_code == 200
    assert "retries: 2 → 1" in code.run("diff", code=1)
    code.run("apply", "--yes")
    code.run("diff")

    code.write(SHOP)
    assert "not in the file, kept" in code.run("apply", "--yes")
    assert len(code.stored()) == 2
    assert "1 not in the file" in code.run("diff", code=1)

    before = code.stored()
    exported = stack.invoke("targets.export").stdout
    applied = stack.run(*stack.invoke_argv("targets.apply", "--file=-", "--prune", "--yes"), text=exported)
    assert "nothing to change" in applied.stdout
    assert code.stored() == before
    assert "1 deleted" in code.run("apply", "--prune", "--yes")
    assert list(code.stored()) == [f"Shop {code.mark}"]


def test_maintenance_windows_are_applied_with_their_targets(code: Code) -> None:
    stack = code.stack
    every_day = "{days: [mon, tue, wed, thu, fri, sat, sun], start: '00:00', minutes: 1439, timezone: UTC}"
    windows = (
        "maintenance:\n"
        f"- {{name: Shop %, target: Shop %, weekly: {every_day}}}\n"
        "- {name: Tagged %, tag: other, weekly: {days: [sun], start: '02:30', minutes: 60, timezone: Europe/Berlin}}\n"
    )

    def in_maintenance() -> dict[str, bool]:
        found = requests.get(stack.url(f"/api/targets?q={code.mark}"), timeout=10).json()
        return {each["name"].split()[0]: each["in_maintenance"] for each in found}

    code.write(SHOP, MAIL, windows=windows)
    assert "4 created" in code.run("apply", "--yes")
    code.run("diff")
    # From 23:59 to midnight it is not in effect.
    until(lambda: in_maintenance() == {"Shop": True, "Mail": False}, 70, "the maintenance of one target")

    code.write(SHOP, MAIL, windows=windows.replace("target: Shop %", "target: Mail %"))
    assert "window Shop" in code.run("apply", "--yes")
    until(lambda: in_maintenance() == {"Shop": False, "Mail": True}, 70, "the maintenance of the other target")
    exported = stack.invoke("targets.export").stdout
    applied = stack.run(*stack.invoke_argv("targets.apply", "--file=-", "--prune", "--yes"), text=exported)
    assert "nothing to change" in applied.stdout

    code.write(SHOP, MAIL, windows=windows.replace("target: Shop %", "target: Nobody"))
    assert f"{OWN}:8: maintenance[0].target: there is no target Nobody" in code.run("apply", "--yes", code=1)
    code.write(SHOP, windows="maintenance: []\n")
    assert "3 deleted" in code.run("apply", "--prune", "--yes")
    assert in_maintenance() == {"Shop": False}


def test_a_mistake_changes_nothing(code: Code) -> None:
    code.write(SHOP)
    code.run("apply", "--yes")
    before = code.stored()
    for mistake, message in (
        ("- {name: Other %, spec: {kind: tcp, host: db, port: 99999}}\n", f"{OWN}:6: targets[1].spec.port: "),
        (
            "- {name: Other %, spec: {kind: tcp, host: db, port: 1}, retry: 1}\n",
            f"{OWN}:6: targets[1].retry: unknown key",
        ),
        ("\t- {name: Other %}\n", f"{OWN}:6: a tab"),
        (SHOP, f"{OWN}:6: targets[1].name: duplicate name"),
    ):
        code.write(SHOP.replace("3000", "3001"), mistake)
        assert message in code.run("apply", "--prune", "--yes", code=1)
        assert message in code.run("diff", code=2)
    assert code.stored() == before


def test_bulk_changes_are_made_as_a_whole(code: Code) -> None:
    """In PostgreSQL: names are swapped, responses are sent back, lists are sent at the same time."""
    url, access = code.stack.url("/api/targets"), code.stack.authorization()

    def send(method: str, path: str, body: Any, status: int = 200) -> dict[str, Any]:
        answer = requests.request(method, url + path, json=body, headers=access, timeout=30)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    spec = {"kind": "http", "url": "http://app:3000/api/health/live", "headers": {"X-A": "a-value"}}
    made = send("PUT", "", [{"name": name, "spec": spec} for name in ("a", "b", "c")])
    a, b, c = (each["id"] for each in made["created"])
    answers = requests.get(url, timeout=10).json()
    assert send("PUT", "?prune=true", answers)["unchanged"] == 3
    [first, *_] = answers
    for method in ("PUT", "PATCH"):
        assert send(method, f"/{first['id']}", first)["updated_at"] == first["updated_at"]

    bulk = {"update": [{"id": a, "name": "b"}, {"id": b, "name": "a"}], "delete": [c], "create": [{"name": "c"}]}
    send("POST", "/bulk", bulk, 422)
    bulk["create"] = [{"name": "c", "spec": spec}]
    assert send("POST", "/bulk?dry_run=true", bulk)["dry_run"]
    assert {each["id"]: each["name"] for each in requests.get(url, timeout=10).json()} == {a: "a", b: "b", c: "c"}
    changed = send("POST", "/bulk", bulk)
    named = {each["name"]: each["id"] for each in requests.get(url, timeout=10).json()}
    assert named == {"b": a, "a": b, "c": changed["created"][0]["id"]}

    lists = [[{"name": f"{half} {number}", "spec": spec, "enabled": False} for number in range(300)] for half in "xy"]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: send("PUT", "?prune=true", each), lists))
    pages = [requests.get(f"{url}?limit=200&q={half} ", timeout=10).json() for half in "xy"]
    assert sorted(len(page) for page in pages) == [0, 200], "one list replaces the other as a whole"
    assert pipeline.sql(code.stack, "SELECT count(*) AS number FROM targets") == [{"number": 300}]
    assert pipeline.sql(code.stack, "SELECT count(*) AS number FROM standings") == [{"number": 300}]


def test_a_header_that_is_a_secret_reaches_the_target(code: Code) -> None:
    """That it reaches nothing else: see test_leaks."""
    stack = code.stack
    value = f"Bearer {uuid4().hex}{uuid4().hex}"
    secret = stack.root / "secrets" / "targets" / "live-test"
    secret.unlink(missing_ok=True)
    with pipeline.target_server(stack) as server:
        headers = "{Authorization: secret:live-test}"
        code.write(f"- name: Api %\n  spec: {{kind: http, url: '{server.url}', headers: {headers}}}\n")
        assert "secrets/targets/live-test is missing" in code.run("apply", "--yes", code=1)
        secret.write_text(f"{value}\n")
        secret.chmod(0o644)
        code.run("apply", "--yes")
        until(lambda: server.headers.get("Authorization") == value, 20, "the secret to reach the target")
        [target] = code.stored().values()
        assert target["spec"]["headers"] == {"Authorization": "secret:live-test"}
        code.run("diff")

        secret.unlink()

        def failed() -> dict[str, Any] | None:
            latest = requests.get(stack.url(f"/api/targets/{target['id']}/latest"), timeout=5).json()
            return latest if latest.get("error") == "secret" else None

        assert until(failed, 20, "the probe to fail")["detail"] == "the secret live-test is missing"
        secret.write_text(value)
        secret.chmod(0o644)
        until(lambda: not failed(), 20, "the probe to succeed")
    secret.unlink()
