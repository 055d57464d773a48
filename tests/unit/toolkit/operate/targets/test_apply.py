"""Apply, diff and export against the application's own routes, with targets in memory."""

from __future__ import annotations

import asyncio
import builtins
import errno
import io
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import TypeAdapter

from netmon.maintenance import WindowView
from netmon.settings import load
from netmon.target_models import TargetView
from tests.unit.app.conftest import ENVIRON
from tests.unit.app.fake_api import Database, client_of
from tests.unit.app.fake_api import application as create
from tests.unit.app.test_app_bulk import shown
from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.core.terminal import OutputError
from toolkit.engine.stack_http import Request, Response
from toolkit.operate.targets import apply as operation
from toolkit.operate.targets import client as api
from toolkit.operate.targets import difference
from toolkit.operate.targets import export as exporting
from toolkit.operate.targets.client import Client

FILE = """\
targets:
- name: Shop
  spec:
    kind: http
    url: https://shop.example/
    headers:
      Authorization: secret:shop
- name: Mail
  spec: {kind: tcp, host: mail.example, port: 25}
"""


class Application:
    """The application in this process; the list of targets comes from memory."""

    def __init__(self) -> None:
        self.services = Database()
        self.app = create(load(ENVIRON), self.services)
        self.requests: list[Request] = []
        self.token = ENVIRON["API_TOKEN"]
        self.refuse: Response | None = None

    def send(self, requests: Sequence[Request]) -> list[Response]:
        self.requests += requests
        return [self.refuse or asyncio.run(self._respond(request)) for request in requests]

    @property
    def changes(self) -> int:
        return sum("dry_run=false" in request.url for request in self.requests)

    async def _respond(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        if (request.method, parts.path) == ("GET", "/api/targets"):
            return self._page(parse_qs(parts.query))
        if (request.method, parts.path) == ("GET", "/api/maintenance"):
            views = [WindowView.of(window, datetime.now(UTC)) for window in self.services.windows]
            return Response("", 200, {}, TypeAdapter(list[WindowView]).dump_json(views).decode(), "")
        async with client_of(self.app) as client:
            answer = await client.request(
                request.method, request.url, content=request.body, headers=dict(request.headers)
            )
        return Response(request.url, answer.status_code, dict(answer.headers), answer.text, "")

    def _page(self, query: dict[str, list[str]]) -> Response:
        start = int(query.get("cursor", ["0"])[0])
        views = [shown(target) for target in sorted(self.services.targets.values(), key=lambda each: each.name)]
        end = start + 2
        link = {"link": f'</api/targets?cursor={end}>; rel="next"'} if end < len(views) else {}
        return Response("", 200, link, TypeAdapter(list[TargetView]).dump_json(views[start:end]).decode(), "")


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Application:
    app = Application()

    def client(*_: Any) -> Client:
        return Client("http://app", app.send, {"Authorization": f"Bearer {app.token}"})

    monkeypatch.setattr(Client, "of", client)
    return app


@pytest.fixture
def file(project: Project) -> Path:
    folder = project.root / "secrets" / "targets"
    folder.mkdir(parents=True)
    (folder / "shop").write_text("Bearer hidden\n")
    path = project.root / "targets.yml"
    path.write_text(FILE)
    return path


def apply(project: Project, file: Path, *, prune: bool = False, yes: bool = True) -> None:
    operation.apply(project, None, str(file), prune=prune, yes=yes)  # type: ignore[arg-type]


def diff(project: Project, file: Path) -> None:
    operation.diff(project, None, str(file))  # type: ignore[arg-type]


def export(project: Project, path: str = "", *, yes: bool = False) -> None:
    exporting.export(project, None, path, yes=yes)  # type: ignore[arg-type]


def names(application: Application) -> list[str]:
    return sorted(target.name for target in application.services.targets.values())


def test_apply_shows_the_difference_and_stores_it(
    application: Application, project: Project, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(project, file)
    assert names(application) == ["Mail", "Shop"]
    out = capsys.readouterr().out
    assert "+  Shop    new" in out
    assert "2 to create" in out
    assert "applied: 2 created" in out
    apply(project, file)
    assert "2 unchanged\nnothing to change" in capsys.readouterr().out
    assert application.changes == 1
    diff(project, file)


def test_a_change_is_shown_with_its_fields(
    application: Application, project: Project, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(project, file)
    changed = FILE.replace("port: 25}", "port: 26}\n  interval_seconds: 30").replace("secret:shop", "literal")
    file.write_text(changed)
    apply(project, file)
    out = capsys.readouterr().out
    assert "~  Mail    spec.port: 25 → 26\n~          interval_seconds: 60 → 30" in out
    assert "spec.headers.Authorization: secret:shop → •••" in out
    assert "targets.yml:7: the value of Authorization is in the file; secret:NAME keeps it out" in out
    assert "literal" not in out


def test_a_target_that_is_not_in_the_file_is_deleted_with_prune_only(
    application: Application, project: Project, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(project, file)
    file.write_text(FILE.partition("- name: Mail")[0])
    apply(project, file)
    assert names(application) == ["Mail", "Shop"]
    assert "?  Mail    not in the file, kept" in capsys.readouterr().out
    with pytest.raises(ToolkitError, match="1 not in the file") as raised:
        diff(project, file)
    assert raised.value.code == 1
    apply(project, file, prune=True)
    assert "-  Mail    deleted, with its history" in capsys.readouterr().out
    assert names(application) == ["Shop"]


def test_diff_reports_drift_with_exit_code_1_and_errors_with_2(
    application: Application, project: Project, file: Path
) -> None:
    with pytest.raises(ToolkitError, match=r"targets\.yml and the application differ: 2 to create") as raised:
        diff(project, file)
    assert raised.value.code == 1
    assert application.changes == 0
    file.write_text("targets: {}\n")
    with pytest.raises(ToolkitError, match=r"targets\.yml:1: targets: a list is required") as raised:
        diff(project, file)
    assert raised.value.code == 2


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 2), (errno.EPIPE, 141)])
def test_diff_that_cannot_be_shown_is_no_difference(
    application: Application, project: Project, file: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    def fail(_change: object) -> None:
        raise OutputError(OSError(number, "no"))

    monkeypatch.setattr(difference, "show", fail)
    with pytest.raises(ToolkitError, match="standard output") as raised:
        diff(project, file)
    assert raised.value.code == code


def test_apply_asks_and_a_refusal_changes_nothing(
    application: Application, project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(ToolkitError, match="confirmation required"):
        apply(project, file, yes=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer in ("n", "", "no"):
        monkeypatch.setattr(builtins, "input", lambda _prompt, answer=answer: answer)
        with pytest.raises(ToolkitError, match="cancelled"):
            apply(project, file, yes=False)

    def interrupted(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "input", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply(project, file, yes=False)
    assert application.changes == 0
    monkeypatch.setattr(builtins, "input", lambda _prompt: "y")
    apply(project, file, yes=False)
    assert names(application) == ["Mail", "Shop"]


MISTAKES = (
    ("port: 25", "port: 99999", "targets.yml:9: targets[1].spec.port: Input should be less than or equal to 65535"),
    ("name: Mail", "name: Mail\n  retrys: 5", "targets.yml:9: targets[1].retrys: unknown key; did you mean retries?"),
    ("kind: tcp", "kind: udp", "targets.yml:9: targets[1].spec: Input tag 'udp'"),
    ("{kind: tcp, host: mail.example, port: 25}", "[]", "targets.yml:9: targets[1].spec: "),
    ("name: Mail", 'name: Mail\n  tags: ["a\\x07"]', "targets.yml:9: targets[1].tags[0]: String should match pattern"),
    ("https://shop.example/", "ftp://shop.example/", "targets.yml:5: targets[0].spec.url: "),
    ("secret:shop", "•••", "targets.yml:7: targets[0].spec.headers.Authorization: the value is masked, and none is"),
    ("secret:shop", "secret:../shop", "targets.yml:7: targets[0].spec.headers.Authorization: secret: must"),
    ("secret:shop", "secret:other", "secrets/targets/other is missing: write the value into it"),
    ("mail.example", "10.0.0.1", "targets.yml:9: targets[1].spec: 10.0.0.1 is not a public address"),
    ("  spec: {kind: tcp", "  sepc: {kind: tcp", "targets.yml:8: targets[1].spec: missing"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "wrong", "message"), MISTAKES, ids=[wrong for _, wrong, _ in MISTAKES])
def test_a_mistake_changes_nothing_and_is_reported_with_line_and_key(
    application: Application, project: Project, file: Path, text: str, wrong: str, message: str
) -> None:
    file.write_text(FILE.replace(text, wrong))
    with pytest.raises(ToolkitError) as raised:
        apply(project, file)
    assert message in str(raised.value)
    assert "nothing was changed" in str(raised.value)
    assert application.changes == 0
    assert names(application) == []


def test_an_unusable_secret_is_reported_without_its_value(
    application: Application, project: Project, file: Path
) -> None:
    secret = project.root / "secrets" / "targets" / "shop"
    for content, mode, reason in (
        ("", 0o644, "is empty"),
        (" \n", 0o644, "is empty"),
        ("hidden\nhidden", 0o644, "is not one line"),
        ("hidden" * 1000, 0o644, "is not one line"),
        ("hidden", 0o600, "is not readable in the container"),
    ):
        secret.write_text(content)
        secret.chmod(mode)
        with pytest.raises(ToolkitError, match=rf"targets\.yml:7: .*secrets/targets/shop {reason}") as raised:
            apply(project, file)
        assert "hidden" not in str(raised.value)
    secret.unlink()
    secret.symlink_to(project.root / "invoke.yaml")
    with pytest.raises(ToolkitError, match="is not a regular file"):
        apply(project, file)
    assert application.requests == []


def test_a_secret_of_several_lines_is_usable_where_lines_are(
    application: Application, project: Project, file: Path
) -> None:
    secret = project.root / "secrets" / "targets" / "text"
    secret.write_text("line 1\nhidden ä\n")
    posted = "\n- name: Posted\n  spec: {kind: http, url: 'https://a.example/', method: POST, SETTING: 'secret:text'}\n"
    file.write_text(FILE + posted.replace("SETTING", "body"))
    apply(project, file)
    assert "Posted" in names(application)
    changes = application.changes
    for setting, content, reason in (
        ("bearer_token", b"line 1\nhidden\n", "is not one line"),
        ("body", b"hidden\xff", "is not text in UTF-8"),
        ("body", b"hidden" * 20_000, "is longer than 65536 bytes"),
        ("body", b" \n", "is empty"),
    ):
        secret.write_bytes(content)
        file.write_text(FILE + posted.replace("SETTING", setting))
        with pytest.raises(ToolkitError, match=rf"{setting}: secrets/targets/text {reason}") as raised:
            apply(project, file)
        assert "hidden" not in str(raised.value)
    assert application.changes == changes


def test_export_writes_what_apply_stored(
    application: Application, project: Project, file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    apply(project, file)
    literal = FILE + "- name: Api\n  spec: {kind: http, url: 'https://a.example/?key=1', headers: {X-Key: hidden}}\n"
    file.write_text(literal)
    apply(project, file)
    capsys.readouterr()
    export(project)
    shown = capsys.readouterr()
    assert "hidden" not in shown.out + shown.err
    assert "X-Key: •••" in shown.out
    assert "warning: credentials of Api are masked" in shown.err
    assert "warning: the URL of Api has a query" in shown.err

    exported = tmp_path / "exported.yml"
    export(project, str(exported))
    assert shown.out.endswith(exported.read_text())
    before = dict(application.services.targets)
    apply(project, exported, prune=True)
    assert application.services.targets == before
    diff(project, exported)


def test_export_overwrites_a_file_after_confirmation_only(
    application: Application, project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(ToolkitError, match=r"confirmation required to overwrite"):
        export(project, str(file))
    assert file.read_text() == FILE
    export(project, str(file), yes=True)
    assert "targets: []" in file.read_text()
    export(project, str(file))


def test_the_standard_input_is_applied_with_yes(
    application: Application, project: Project, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    with pytest.raises(ToolkitError, match="confirmation required"):
        operation.apply(project, None, "-", prune=False, yes=False)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    operation.apply(project, None, "-", prune=False, yes=True)  # type: ignore[arg-type]
    assert names(application) == ["Mail", "Shop"]


WINDOWS = """\
maintenance:
- name: Updates
  tag: web
  weekly: {days: [sun], start: "02:30", minutes: 90, timezone: Europe/Berlin}
- name: Shop
  target: Shop
  once: {starts_at: 2099-01-01T10:00:00+01:00, ends_at: 2099-01-01T12:00:00+01:00}
"""
SOON = WINDOWS.replace("2099", str(datetime.now(UTC).year + 1))


def test_maintenance_windows_are_applied_compared_and_exported(
    application: Application, project: Project, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE + SOON)
    apply(project, file)
    out = capsys.readouterr().out
    assert "+  window Updates  new" in out
    assert "4 to create" in out
    shop = next(target for target in application.services.targets.values() if target.name == "Shop")
    stored = {window.name: window for window in application.services.windows}
    assert stored["Shop"].target == shop.id
    diff(project, file)

    file.write_text(FILE + SOON.replace("minutes: 90", "minutes: 60"))
    with pytest.raises(ToolkitError, match="1 to update"):
        diff(project, file)
    assert "~  window Updates  weekly.minutes: 90 → 60" in capsys.readouterr().out

    file.write_text(FILE + SOON.partition("- name: Shop")[0])
    with pytest.raises(ToolkitError, match="1 not in the file"):
        diff(project, file)
    file.write_text(FILE)
    diff(project, file)
    apply(project, file, prune=True)
    assert len(application.services.windows) == 2, "a file without windows leaves them as they are"

    capsys.readouterr()
    export(project)
    exported = capsys.readouterr().out
    assert "target: Shop" in exported
    file.write_text(exported[exported.index("# The targets") :])
    apply(project, file, prune=True)
    assert "nothing to change" in capsys.readouterr().out

    file.write_text(FILE + "maintenance: []\n")
    apply(project, file, prune=True)
    assert application.services.windows == []


WINDOW_MISTAKES = (
    ("minutes: 90", "minutes: 0", "targets.yml:13: maintenance[0].weekly.minutes: "),
    ("Europe/Berlin", "Europe/Berlim", "targets.yml:13: maintenance[0].weekly.timezone: unknown time zone"),
    ("target: Shop", "target: Shops", "targets.yml:15: maintenance[1].target: there is no target Shops"),
    ("tag: web", "tags: web", "targets.yml:12: maintenance[0].tags: unknown key; did you mean tag?"),
    ("  tag: web\n", "", "targets.yml:11: maintenance[0]: either target or tag is required"),
    ("[sun]", "[mon, tue, wed, thu, fri, sat, sun], minutes: 1440}#", "targets.yml:13: maintenance[0].weekly"),
    ("T12:00", "T09:00", "targets.yml:16: maintenance[1].once: ends_at must be after starts_at"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "wrong", "message"), WINDOW_MISTAKES, ids=[wrong for _, wrong, _ in WINDOW_MISTAKES])
def test_a_mistake_in_a_window_changes_nothing(
    application: Application, project: Project, file: Path, text: str, wrong: str, message: str
) -> None:
    file.write_text(FILE + SOON.replace(text, wrong))
    with pytest.raises(ToolkitError) as raised:
        apply(project, file)
    assert message in str(raised.value)
    assert names(application) == []


def test_a_window_that_has_ended_is_ignored(
    application: Application, project: Project, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE + WINDOWS.replace("2099", "2020"))
    apply(project, file)
    assert "?  window Shop     has ended: remove it from the file" in capsys.readouterr().out
    assert [window.name for window in application.services.windows] == ["Updates"]
    diff(project, file)


REFUSALS = (
    (Response("", 0, {}, "", "connection refused"), "the application does not answer: connection refused"),
    (Response("", 503, {}, '{"detail": "The database is unavailable."}', ""), "The database is unavailable"),
    (Response("", 404, {}, "<html>", ""), "invoke deploy"),
    (Response("", 409, {}, '{"detail": "The limit of 20000 targets is reached."}', ""), "The limit of 20000"),
    (Response("", 413, {}, '{"detail": "too large"}', ""), "split the file"),
)


@pytest.mark.parametrize(("refusal", "message"), REFUSALS)
def test_an_error_of_the_application_is_reported(
    application: Application, project: Project, file: Path, refusal: Response, message: str
) -> None:
    application.refuse = refusal
    with pytest.raises(ToolkitError) as applied:
        apply(project, file)
    with pytest.raises(ToolkitError) as exported:
        export(project)
    assert message in str(applied.value)
    assert message in str(exported.value)


def test_a_wrong_token_is_reported(application: Application, project: Project, file: Path) -> None:
    application.token = "wrong"
    with pytest.raises(ToolkitError, match="token"):
        apply(project, file)


def test_an_application_that_is_not_running_is_reported(project: Project, docker: FakeDocker) -> None:
    setup(project, "dev")
    docker.on("compose", "config", stdout=configuration(app={}))
    docker.on("ps", stdout="")
    docker.on("container", "inspect", stdout=[])
    with pytest.raises(ToolkitError, match="the application is not running"):
        Client.of(project, docker.cli)
    docker.on("ps", stdout="id-app-1")
    docker.on("container", "inspect", stdout=[container("app")])
    assert Client.of(project, docker.cli).base == "http://app:3000"
    assert api.CHANGE_SECONDS > 120
