"""Pulls: progress parsed from docker's output, retries, errors, stalls and the display."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.engine.timeouts import TimedOutError
from toolkit.images import pulls, sizes
from toolkit.images.layers import PullOutput
from toolkit.images.registry import RegistryError

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
REDIS, POSTGRES, KAFKA = "docker.io/library/redis:8", "docker.io/library/postgres:18", "docker.io/apache/kafka:4"
FINE = Result(0, "", "")


def failure(text: str) -> Result:
    return Result(1, "", f"Error response from daemon: {text}\n")


class TestOutput:
    """The parser of docker's output."""

    def test_bytes_exclude_existing_layers(self) -> None:
        output = PullOutput()
        for line in (
            "8: Pulling from library/redis",
            "\x1b[1A\x1b[2K",
            f"{A}: Already exists ",
            f"{B}: Pulling fs layer ",
            "cccccccccccc: Waiting ",
        ):
            output.feed(line)
        assert (output.received, output.total) == (0, None)
        output.feed(f"\x1b[2K{B}: Downloading  1.633MB/4.004MB")
        output.feed("cccccccccccc: Downloading [==>          ]  524.3kB/1.049MB")
        assert (output.received, output.total) == (1_633_000 + 524_300, 4_004_000 + 1_049_000)
        output.feed(f"{B}: Verifying Checksum ")
        output.feed(f"{B}: Extracting  65.54kB/4.004MB")
        output.feed("cccccccccccc: Pull complete ")
        assert (output.received, output.total) == (5_053_000, 5_053_000)

    def test_known_sizes_count_before_the_first_byte(self) -> None:
        output = PullOutput({A: 100, B: 200})
        output.feed(f"{A}: Waiting ")
        output.feed(f"{B}: Download complete ")
        assert (output.received, output.total) == (200, 300)

    def test_a_retried_layer_starts_at_zero(self) -> None:
        output = PullOutput({A: 100})
        output.feed(f"{A}: Downloading  60B/100B")
        output.feed(f"{A}: Retrying in 5 seconds ")
        assert (output.received, output.total, output.layers[A].state) == (0, 100, "Retrying")

    def test_repeated_lines_are_no_progress(self) -> None:
        now = [0.0]
        output = PullOutput(clock=lambda: now[0])
        for at, line in enumerate(
            [f"{A}: Downloading  1B/9B", f"{B}: Waiting ", f"{A}: Downloading  1B/9B", f"{B}: Waiting ", "\x1b[1A"], 1
        ):
            now[0] = at
            output.feed(line)
        assert output.last_progress == 2, "a repeated line is no progress"

    def test_queued_and_downloaded_states(self) -> None:
        output = PullOutput()
        assert not output.queued
        output.feed(f"{A}: Pulling fs layer ")
        output.feed(f"{B}: Waiting ")
        assert (output.queued, output.downloaded) == (True, False)
        output.feed(f"{A}: Downloading  1B/9B")
        assert (output.queued, output.downloaded) == (False, False)
        output.feed(f"{A}: Extracting  1B/9B")
        output.feed(f"{B}: Download complete ")
        assert (output.queued, output.downloaded) == (False, True)

    @pytest.mark.parametrize("line", ["Login prior to pull:", "Username: ", "Password: "])
    def test_a_login_prompt_is_detected(self, line: str) -> None:
        output = PullOutput()
        output.feed(line)
        assert output.wants_login


@dataclass
class Line:
    """A registry: the results of successive pulls of each image, the last one repeated."""

    docker: FakeDocker
    answers: dict[str, list[Result | Callable[[str], Result]]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.docker.answer("pull", by=self._pull)
        self.docker.on("version", "--format", stdout="amd64\n")

    def _pull(self, argv: list[str]) -> Result:
        name = argv[-1]
        self.order.append(name)
        answers = self.answers.get(name, [FINE])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Result) else answer(name)

    def see(self, name: str, *lines: str) -> threading.Event:
        """Make docker print lines for a running pull; returns the event that stops it."""
        calls = reversed([*zip(self.docker.calls, self.docker.options, strict=True)])
        options = next(options for argv, options in calls if argv[1:] == ["pull", name])
        for line in lines:
            options["watch"](line)
        assert isinstance(options["stop"], threading.Event)
        return options["stop"]

    def prints(self, *lines: str, then: Result = FINE) -> Callable[[str], Result]:
        """A result after printed lines; ``then`` with code -1 waits until the pull is stopped."""

        def answer(name: str) -> Result:
            stop = self.see(name, *lines)
            if then.code >= 0:
                return then
            assert stop.wait(30), "the pull was not stopped"
            return Result(143, "", "")

        return answer


HANGS = Result(-1, "", "")


@pytest.fixture
def line(docker: FakeDocker, project: Project, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(pulls, "PAUSES", (0.01, 0.02, 0.03))
    monkeypatch.setattr("toolkit.core.progress.REFRESH_SECONDS", 0.01)
    return Line(docker)


def test_the_largest_image_is_pulled_first_and_shared_layers_count_once(
    project: Project, line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = {REDIS: {"sha256:1": 10_000_000}, POSTGRES: {"sha256:1": 10_000_000, "sha256:2": 90_000_000}}
    monkeypatch.setattr(sizes, "layers", lambda *_: layers)
    monkeypatch.setattr(pulls, "AT_ONCE", 1)
    pulls.pull(project, line.docker.cli, [REDIS, KAFKA, POSTGRES, REDIS])
    assert line.order == [POSTGRES, REDIS, KAFKA]
    output = capsys.readouterr().out
    assert "to download: 3 images, up to 100.0 MB, 1 of them of unknown size" in output
    assert f"pulled {POSTGRES} (" in output


def test_a_finished_pull_prints_its_size(project: Project, line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    line.answers[REDIS] = [line.prints(f"{A}: Downloading  1.5MB/3MB", f"{A}: Pull complete ")]
    pulls.pull(project, line.docker.cli, [REDIS])
    output = capsys.readouterr().out
    assert "to download: 1 image, of unknown size" in output
    assert f"  pulled {REDIS} (3.0 MB, 0 s)" in output


def test_a_long_pull_prints_its_progress(
    project: Project, line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pulls, "LINE_EVERY", 0.05)

    def slow(name: str) -> Result:
        line.see(name, f"{A}: Downloading  1.5MB/3MB")
        time.sleep(0.3)
        return FINE

    line.answers[REDIS] = [slow]
    pulls.pull(project, line.docker.cli, [REDIS])
    assert re.search(rf"… 1\.5 MB so far, .*/s; pulling {REDIS} 1\.5 MB of 3\.0 MB\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "answer",
    [
        "received unexpected HTTP status: 503 Service Unavailable",
        "received unexpected HTTP status: 502 Bad Gateway",
        "read tcp 10.0.0.1:4->10.0.0.2:443: read: connection reset by peer",
        "unexpected EOF",
        "toomanyrequests: slow down",
        'Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout',
    ],
)
def test_a_transient_failure_is_retried(
    project: Project, line: Line, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    line.answers[REDIS] = [failure(answer), failure(answer), FINE]
    pulls.pull(project, line.docker.cli, [REDIS])
    assert line.order == [REDIS] * 3
    assert f"({answer}); retrying in 0.01 s" in capsys.readouterr().out


def test_retries_are_limited(project: Project, line: Line) -> None:
    line.answers[REDIS] = [failure("unexpected EOF")]
    with pytest.raises(ToolkitError, match="drops connections") as error:
        pulls.pull(project, line.docker.cli, [REDIS])
    assert line.order == [REDIS] * 4
    assert "mirror" in error.value.fix


@pytest.mark.parametrize(
    ("answer", "why", "fix"),
    [
        ("manifest unknown", "the image does not exist in the registry", "correct the tag in docker-compose.yml"),
        ("docker.io/library/redis:8.10.2-alpine: not found", "the image does not exist", "images.outdated"),
        ("pull access denied for redis, repository does not exist: denied", "access denied", "docker-compose.yml"),
        ("unauthorized: authentication required", "authentication required", "docker login docker.io"),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "limit", "REGISTRY"),
        ("write /x: no space left on device", "disk is full", "docker system df"),
        ("dial tcp: lookup registry-1.docker.io: no such host", "is unreachable", "--images=local"),
        (
            "tls: failed to verify certificate: x509: unknown authority",
            "the registry's certificate is not trusted",
            "certs.d",
        ),
    ],
)
def test_a_permanent_failure_is_not_retried(project: Project, line: Line, answer: str, why: str, fix: str) -> None:
    name = "docker.io/library/redis:8.10.2-alpine"
    line.answers[name] = [failure(answer)]
    with pytest.raises(ToolkitError, match=f"cannot pull {name}: .*{why}.*") as error:
        pulls.pull(project, line.docker.cli, [name])
    assert line.order == [name]
    assert answer in error.value.why
    assert fix in error.value.fix


def test_an_unreachable_engine_is_not_reported_as_an_unreachable_registry(project: Project, line: Line) -> None:
    line.answers[REDIS] = [Result(1, "", "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon up?")]
    with pytest.raises(ToolkitError, match="Cannot connect to the Docker daemon") as error:
        pulls.pull(project, line.docker.cli, [REDIS])
    assert "start Docker" in error.value.fix


def test_retry_after_of_the_registry_is_honoured_unless_it_is_long(
    project: Project, line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    retry_after = [0.05]

    def head(*_: object) -> None:
        raise RegistryError("429", 429, retry_after[0])

    monkeypatch.setattr("toolkit.images.registry.Registries.head", head)
    line.answers[REDIS] = [failure("toomanyrequests: slow down"), FINE]
    pulls.pull(project, line.docker.cli, [REDIS])
    assert "retrying in 0.05 s" in capsys.readouterr().out
    retry_after[0] = 3600
    line.answers[REDIS] = [failure("toomanyrequests: slow down"), FINE]
    with pytest.raises(ToolkitError, match="rate limit") as error:
        pulls.pull(project, line.docker.cli, [REDIS])
    assert "docker login docker.io" in error.value.fix


def test_a_login_prompt_stops_the_pull(project: Project, line: Line) -> None:
    name = "registry.test/app:1"
    line.answers[name] = [line.prints("", "Login prior to pull:", "Username: ", then=HANGS)]
    with pytest.raises(ToolkitError, match="authentication required") as error:
        pulls.pull(project, line.docker.cli, [name])
    assert "docker login registry.test" in error.value.fix


@pytest.fixture
def impatient(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = {**project.data["timeouts"], "stall": 0.3, "registry": 0.3}
    monkeypatch.setitem(project.data, "timeouts", timeouts)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("lines", [(), ("8: Pulling from library/redis",), (f"{A}: Downloading  1B/9B",)])
def test_a_stalled_pull_is_stopped(project: Project, line: Line, lines: tuple[str, ...]) -> None:
    line.answers[REDIS] = [line.prints(*lines, then=HANGS)]
    with pytest.raises(
        ToolkitError, match=rf"cannot pull {REDIS}: the registry stalled \(no data for 0.3 s\)"
    ) as error:
        pulls.pull(project, line.docker.cli, [REDIS])
    assert "--images=local" in error.value.fix
    assert line.order == [REDIS]


@pytest.mark.usefixtures("impatient")
def test_a_queued_or_extracting_pull_is_not_stalled(project: Project, line: Line) -> None:
    def downloading(name: str) -> Result:
        for count in range(50):
            line.see(name, f"{A}: Downloading  {count}B/999B")
            time.sleep(0.02)
        return FINE

    def at(state: str) -> Callable[[str], Result]:
        def answer(name: str) -> Result:
            line.see(name, f"{B}: {state}")
            time.sleep(1)
            return FINE

        return answer

    line.answers = {
        KAFKA: [downloading],
        REDIS: [at("Waiting ")],
        POSTGRES: [at("Extracting  1B/9B")],
    }
    pulls.pull(project, line.docker.cli, [KAFKA, REDIS, POSTGRES])


def test_after_a_failure_running_pulls_finish_and_no_other_starts(
    project: Project, line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pulls, "AT_ONCE", 2)

    def slow(_name: str) -> Result:
        time.sleep(0.3)
        return FINE

    line.answers = {REDIS: [failure("manifest unknown")], POSTGRES: [slow], KAFKA: [slow]}
    with pytest.raises(ToolkitError, match=REDIS):
        pulls.pull(project, line.docker.cli, [POSTGRES, REDIS, KAFKA, "other:1", "another:1"])
    assert f"pulled {POSTGRES}" in capsys.readouterr().out
    assert "another:1" not in line.order


def test_ctrl_c_stops_running_pulls(project: Project, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.answers = {REDIS: [line.prints(f"{A}: Downloading  1B/9B", then=HANGS)]}
    refreshes: list[int] = []

    def interrupted(_self: object, _rows: object) -> None:
        refreshes.append(1)
        if line.order and len(refreshes) > 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(pulls._StallMonitor, "refresh", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pulls.pull(project, line.docker.cli, [REDIS, POSTGRES])


class TestProbe:
    """The probe of a registry."""

    def test_a_slow_download_is_a_success(self, project: Project, line: Line) -> None:
        line.answers[REDIS] = [self._until_the_end(line, f"{A}: Downloading  1B/9B")]
        pulls.probe(project, line.docker.cli, REDIS, 1)
        [options] = [each for argv, each in zip(line.docker.calls, line.docker.options, strict=True) if "pull" in argv]
        assert options["timeout"] == 1

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "no response within 1 s"),
            ("8: Pulling from library/redis", "no response within 1 s"),
            (f"{A}: Pulling fs layer ", "no data for 1 s"),
        ],
    )
    def test_a_probe_without_progress_fails(self, project: Project, line: Line, text: str, why: str) -> None:
        line.answers[REDIS] = [self._until_the_end(line, text)]
        with pytest.raises(ToolkitError, match=why):
            pulls.probe(project, line.docker.cli, REDIS, 1)

    def test_one_that_stopped_half_way_is_none(
        self, project: Project, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pulls, "ALIVE", -1.0)
        line.answers[REDIS] = [self._until_the_end(line, f"{A}: Downloading  1B/9B")]
        with pytest.raises(ToolkitError, match="stalls"):
            pulls.probe(project, line.docker.cli, REDIS, 1)

    @pytest.mark.parametrize(("retry_after", "tries"), [(0.01, 2), (None, 1), (60.0, 1)])
    def test_a_short_retry_after_is_honoured(
        self, project: Project, line: Line, monkeypatch: pytest.MonkeyPatch, retry_after: float | None, tries: int
    ) -> None:
        def head(*_: object) -> None:
            raise RegistryError("429", 429, retry_after)

        monkeypatch.setattr("toolkit.images.registry.Registries.head", head)
        line.answers[REDIS] = [failure("toomanyrequests: slow down")]
        with pytest.raises(ToolkitError, match="rate limit"):
            pulls.probe(project, line.docker.cli, REDIS, 1)
        assert line.order == [REDIS] * tries

    @staticmethod
    def _until_the_end(line: Line, text: str) -> Callable[[str], Result]:
        def answer(name: str) -> Result:
            line.see(name, text)
            raise TimedOutError("docker pull did not end", "")

        return answer
