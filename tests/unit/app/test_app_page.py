"""The status page, rendered from made-up targets."""

import gzip
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from uuid import UUID

import httpx
import pytest
from psycopg import OperationalError

from netmon.models import Point, Statistics
from netmon.page import views
from netmon.page.assets import Assets
from netmon.specs import HttpSpec, TcpSpec
from tests.fixtures.page import FakeReading, alert, application, view

pytestmark = pytest.mark.anyio

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def reading() -> FakeReading:
    return FakeReading.full()


@pytest.fixture
async def client(reading: FakeReading) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(reading))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


def identity(reading: FakeReading, name: str) -> UUID:
    return next(target.id for target in reading.known.values() if target.name == name)


async def test_the_first_page_says_what_is_wrong_before_what_is_right(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "1 of 9 targets down" in page
    assert "<title>(1 down) Network Monitor</title>" in page
    shown = re.findall(r'class="name" href="/targets/[^"]+">([^<]+)', page)
    assert shown[:2] == ["Mail, submission", "Web shop, checkout"]
    assert shown[-1] == "Old wiki", "what is paused comes last"
    assert "tcp://mail.example.org:587" in page
    assert "99.51 %" in page
    assert "Connection refused" in page
    assert re.search(r"TargetsDown <strong>firing", page)


async def test_alerts_are_not_shown_where_they_are_not_for_everybody(reading: FakeReading) -> None:
    transport = httpx.ASGITransport(app=application(reading, alerts=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        page = (await client.get("/")).text
    assert "Mail, submission" in page
    assert "TargetsDown" not in page
    assert "#alerts" not in page
    assert 'id="alerts"' not in page


async def test_only_statistics_that_are_not_known_at_once_are_asked_for_one_by_one(
    client: httpx.AsyncClient, reading: FakeReading
) -> None:
    figures = re.findall(r"Uptime 24 h </span>([^<]+)", (await client.get("/")).text)
    assert len(set(figures)) > 1, "or it would not show whose they are"
    assert sorted(reading.asked) == sorted(reading.known)
    reading.fresh = set(list(reading.known)[::2])
    reading.asked.clear()
    assert re.findall(r"Uptime 24 h </span>([^<]+)", (await client.get("/")).text) == figures
    assert sorted(reading.asked) == sorted(reading.known.keys() - reading.fresh)


async def test_without_targets_the_page_says_what_to_do(client: httpx.AsyncClient, reading: FakeReading) -> None:
    reading.known.clear()
    page = (await client.get("/")).text
    assert "Nothing is watched yet" in page
    assert 'href="/targets/new">Add the first target' in page


async def test_a_target_shows_state_plan_figures_and_results(client: httpx.AsyncClient, reading: FakeReading) -> None:
    page = (await client.get(f"/targets/{identity(reading, 'Customer API')}", params={"span": "7d"})).text
    assert "<h1>Customer API</h1>" in page
    assert "Status 502, expected one below 400" in page
    assert "2 of 3 results failed" in page
    assert "63 days left" in page
    assert page.count("Succeeded") > 8
    assert re.search(r'data-span="7d" aria-current="true"', page)
    assert "Authorization" in page
    assert "Bearer" not in page


@pytest.mark.parametrize("path", ["/targets/nonsense", f"/targets/{UUID(int=1)}", f"/targets/{UUID(int=1)}/edit"])
async def test_a_target_that_is_not_there(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "There is no such target" in answer.text


@pytest.mark.parametrize("path", ["/", "/targets/new", "/targets/nonsense", "/static/x/page.css", "/static/x/none"])
async def test_every_answer_forbids_what_the_page_does_not_need(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


async def test_no_page_has_an_inline_script_or_style(client: httpx.AsyncClient, reading: FakeReading) -> None:
    target = identity(reading, "Customer API")
    for path in ("/", "/targets/new", f"/targets/{target}", f"/targets/{target}/edit"):
        page = (await client.get(path)).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page), path
        for address in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert address.startswith(("/", "#", "?", "https://api.example.org/v2/status")), address


async def test_names_details_and_addresses_are_only_text(client: httpx.AsyncClient, reading: FakeReading) -> None:
    spec = HttpSpec(url="https://example.org/", body_contains=HOSTILE, headers={"X-A": "x"})
    target = view(HOSTILE, spec)
    assert target.latest
    target = target.model_copy(update={"latest": target.latest.model_copy(update={"detail": HOSTILE})})
    reading.known = {target.id: target}
    reading.events = [each.model_copy(update={"name": HOSTILE, "detail": HOSTILE, "target": target.id})
                      for each in reading.events]  # fmt: skip
    reading.alerts = [alert(HOSTILE, HOSTILE, HOSTILE, target.created_at)]
    for path in ("/", f"/targets/{target.id}", f"/targets/{target.id}/edit"):
        page = (await client.get(path)).text
        assert "&lt;script&gt;alert(1)" in page, path
        assert "<script>alert" not in page
        assert "<img" not in page


async def test_the_form_has_what_the_target_has(client: httpx.AsyncClient, reading: FakeReading) -> None:
    page = (await client.get(f"/targets/{identity(reading, 'Database, replica')}/edit")).text
    assert re.search(r'value="tcp" checked', page)
    assert re.search(r'name="spec/tcp/host"[^>]* value="10.20.0.12"', page)
    assert re.search(r'name="spec/tcp/port"[^>]* value="5432"', page)
    assert re.search(r'name="interval_seconds"[^>]* value="60"', page)
    assert "None" not in page


async def test_without_a_database_the_page_shows_what_it_can(client: httpx.AsyncClient, reading: FakeReading) -> None:
    reading.incidents_error = OperationalError("away")
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "Incidents cannot be read at the moment" in answer.text
    assert "Customer API" in answer.text
    reading.error = OperationalError("away")
    answer = await client.get("/")
    assert answer.status_code == 503
    assert "The targets cannot be read" in answer.text


async def test_static_files_last_for_as_long_as_their_address(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    address = next(found for found in re.findall(r'href="(/static/[^"]+)"', page) if found.endswith("page.css"))
    answer = await client.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/css")
    plain = await client.get(address, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text
    other = await client.get(re.sub(r"/static/\w+/", "/static/other/", address))
    assert other.headers["cache-control"] == "no-store", "of another release's address nobody keeps this one's contents"


def test_another_content_is_another_address(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path).url("a.js")
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).url("a.js") != before


async def test_each_target_more_is_the_same_work_more(client: httpx.AsyncClient, reading: FakeReading) -> None:
    async def rendered(count: int) -> tuple[int, int]:
        """Functions called for a page with so many targets, and its bytes on the wire."""
        many = [view(f"Target {number}", TcpSpec(host="a.example.org", port=number + 1)) for number in range(count)]
        reading.known = {target.id: target for target in many}
        reading.fresh = set(reading.known)
        calls = 0

        def count_call(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count_call)
        try:
            page = (await client.get("/")).text
        finally:
            sys.setprofile(None)
        assert page.count('class="name"') == count
        return calls, len(gzip.compress(page.encode()))

    await rendered(1)  # compiles the template
    calls, size = zip(*[await rendered(count) for count in (0, 50, 100)], strict=True)
    assert calls[2] - calls[1] == pytest.approx(calls[1] - calls[0], rel=0.05)
    assert calls[2] - calls[1] < 50 * 1000
    assert size[2] - size[1] < 50 * 300
    assert not reading.asked, "for what is known at once, nobody is asked one by one"


@pytest.mark.parametrize(
    ("figure", "told"),
    [(None, views.NOTHING), (0.04, "0.0 ms"), (9.94, "9.9 ms"), (41.4, "41 ms"), (999.4, "999 ms"),
     (999.6, "1.00 s"), (12_340, "12.34 s")],
)  # fmt: skip
def test_latencies(figure: float | None, told: str) -> None:
    assert views.latency(figure) == told


@pytest.mark.parametrize(
    ("figure", "told"), [(None, views.NOTHING), (100, "100 %"), (99.999, "99.99 %"), (0, "0.00 %")]
)
def test_only_what_never_failed_is_up_for_100_percent(figure: float | None, told: str) -> None:
    found = Statistics(window="24h", results=9, failed=1, uptime_percent=figure, p50_ms=1, p95_ms=1, p99_ms=1)
    assert views.uptime(found) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d"), (9e6, "104 d")]
)
def test_spans(seconds: float, told: str) -> None:
    assert views.span(seconds) == told


def test_a_sparkline_stays_in_its_picture_and_breaks_where_a_result_failed() -> None:
    points = [Point(float(n), duration, "bad" if n == 2 else "poor" if n == 3 else "good")
              for n, duration in enumerate((5, 900, 1, 0, 12.5))]  # fmt: skip
    picture = views.sparkline(points, 100, 20)
    assert picture.line.count("M") == 2
    assert picture.bad.count("M") == picture.poor.count("M") == 1
    for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", picture.line):
        assert 0 <= float(x) <= 100
        assert 0 <= float(y) <= 20
    assert picture.about == "Last 5 results: 1 failed, 1 with a warning, 0.0 ms to 900 ms"
