"""The status page, rendered with sample targets."""

import gzip
import html
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

import httpx
import pytest
from psycopg import OperationalError

from netmon.cache import Cached
from netmon.models import Point
from netmon.page import views
from netmon.page.assets import Assets
from netmon.secret_values import MASK
from netmon.specs import HeartbeatSpec, HttpSpec, TcpSpec
from netmon.states import URGENCY, ShownState
from netmon.target_lists import OVERVIEW_PAGE_SIZE, TargetFilter
from tests.fixtures.page import FakeReader, alert, application, view

pytestmark = pytest.mark.anyio

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader.full()


@pytest.fixture
async def client(reader: FakeReader) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(reader))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


def identity(reader: FakeReader, name: str) -> UUID:
    return next(target.id for target in reader.known.values() if target.name == name)


async def test_the_index_lists_failing_targets_first(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "1 of 9 targets down" in page
    assert "<title>(1 down) Network Monitor</title>" in page
    shown = named(page)
    assert shown[:2] == ["Mail, submission", "Web shop, checkout"]
    assert shown[-1] == "Old wiki", "paused targets come last"
    assert "tcp://mail.example.org:587" in page
    assert "99.51 %" in page
    assert "connection refused" in page
    assert re.search(r"MonitoredTargetDown <strong>firing", page)
    assert re.search(r"<strong>1</strong> alert firing", page)
    assert "Watchdog" not in page


async def test_the_index_has_no_alerts_if_they_are_disabled(reader: FakeReader) -> None:
    transport = httpx.ASGITransport(app=application(reader, alerts=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        page = (await client.get("/")).text
    assert "Mail, submission" in page
    assert "MonitoredTargetDown" not in page
    assert "#alerts" not in page
    assert 'id="alerts"' not in page


async def test_the_index_is_filtered_by_tag(client: httpx.AsyncClient) -> None:
    every = (await client.get("/")).text
    assert '<a href="/?tag=shop">shop</a>' in every
    page = (await client.get("/?tag=shop")).text
    assert named(page) == ["Web shop, checkout", "Customer API", "Web shop"]
    assert "3 targets tagged shop" in " ".join(page.split())
    assert '<input type="hidden" name="tag" value="shop">' in page
    assert named((await client.get("/?tag=shop&state=up")).text) == ["Customer API", "Web shop"]


async def test_a_target_shows_its_alerts_and_tags(client: httpx.AsyncClient, reader: FakeReader) -> None:
    target = identity(reader, "Web shop")
    page = (await client.get(f"/targets/{target}")).text
    assert "<dt>Alerts</dt><dd>down critical, degraded warning</dd>" in page
    form = (await client.get(f"/targets/{target}/edit")).text
    assert re.search(r'name="tags"[^>]* value="shop web"', form)
    assert re.search(r'<select id="degraded_severity".*?<option selected>warning</option>', form, re.DOTALL)
    silent = reader.known[target].model_copy(update={"severity": "none", "degraded_severity": "none"})
    assert views.alert_rule(silent) == "none"


def named(page: str) -> list[str]:
    """The names of the targets on a page, in order."""
    return re.findall(r'class="name" href="/targets/[^"]+">([^<]+)', page)


def many(reader: FakeReader, count: int) -> None:
    """Let the reader have this many targets, numbered in order, the last of which is down."""
    spec = TcpSpec(host="a.example.org", port=1)
    made = [view(f"Target {number:04}", spec, "down" if number == count else "up") for number in range(1, count + 1)]
    reader.known = {target.id: target for target in made}


async def test_the_index_has_a_page_of_the_targets_and_the_counts_of_all(
    client: httpx.AsyncClient, reader: FakeReader
) -> None:
    many(reader, 1234)
    first = (await client.get("/")).text
    assert "1 of 1,234 targets down" in first
    assert re.search(r'href="/\?state=up"><strong>1,233</strong> up', first)
    assert len(named(first)) == 50
    assert named(first)[:2] == ["Target 1234", "Target 0001"]
    assert "1 to 50 of 1,234" in first
    assert re.search(r'rel="next" href="/\?page=2"', first)
    assert 'rel="prev"' not in first
    last = (await client.get("/?page=25")).text
    assert named(last) == [f"Target {number:04}" for number in range(1200, 1234)]
    assert "1,201 to 1,234 of 1,234" in last
    assert re.search(r'rel="prev" href="/\?page=24"', last)
    assert 'rel="next"' not in last


async def test_targets_are_found_by_state_name_and_address(client: httpx.AsyncClient, reader: FakeReader) -> None:
    page = (await client.get("/", params={"state": "up", "q": "EXAMPLE.org"})).text
    assert set(named(page)) == {"Web shop", "Customer API", "Identity provider", "Mail exchangers"}
    assert "4 up targets with “EXAMPLE.org”" in page
    assert "1 of 9 targets down" in page, "the summary is of all targets"
    assert '<input type="hidden" name="state" value="up">' in page, "a search keeps the state"
    assert re.search(r'href="/\?state=up" aria-current="true"', page)
    none = (await client.get("/", params={"q": '"><script>'})).text
    assert "No targets with “" in none
    assert 'value="&#34;&gt;&lt;script&gt;"' in none
    many(reader, 120)
    assert re.search(r'href="/\?q=target&amp;page=3"', (await client.get("/?q=target&page=2")).text)


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "page=²", f"page={'9' * 40}", "state=nonsense", "q=%00", "q=" + "x" * 5000]
)
async def test_the_index_ignores_invalid_parameters(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/?{query}")
    assert answer.status_code == 200
    assert "1 of 9 targets down" in answer.text


async def test_a_page_after_the_last_one_links_to_the_first(client: httpx.AsyncClient) -> None:
    page = (await client.get("/?page=7")).text
    assert 'This page has no targets. <a href="/">First page</a>' in page


async def test_the_index_without_targets_links_to_the_form(client: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.known.clear()
    page = (await client.get("/")).text
    assert "No targets yet" in page
    assert 'href="/targets/new">Add the first target' in page


async def test_the_page_of_a_target_shows_its_state_settings_statistics_and_results(
    client: httpx.AsyncClient, reader: FakeReader
) -> None:
    page = (await client.get(f"/targets/{identity(reader, 'Customer API')}", params={"span": "7d"})).text
    assert "<h1>Customer API</h1>" in page
    assert "the target answered with status 502" in page
    assert "2 of 3 results failed" in page
    assert "63 days left" in page
    assert page.count("Succeeded") > 8
    assert re.search(r'data-span="7d" aria-current="true"', page)
    assert "Authorization" in page
    assert "Bearer" not in page


@pytest.mark.parametrize("path", ["/targets/nonsense", f"/targets/{UUID(int=1)}", f"/targets/{UUID(int=1)}/edit"])
async def test_the_page_of_an_unknown_target_is_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "Target not found" in answer.text


@pytest.mark.parametrize("path", ["/", "/targets/new", "/targets/nonsense", "/static/x/page.css", "/static/x/none"])
async def test_every_response_has_a_restrictive_content_security_policy(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


async def test_no_page_has_inline_scripts_or_styles(client: httpx.AsyncClient, reader: FakeReader) -> None:
    target = identity(reader, "Customer API")
    for path in ("/", "/targets/new", f"/targets/{target}", f"/targets/{target}/edit"):
        page = (await client.get(path)).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page), path
        for address in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert address.startswith(("/", "#", "?", "https://api.example.org/v2/status")), address


async def test_names_details_and_addresses_are_escaped(client: httpx.AsyncClient, reader: FakeReader) -> None:
    spec = HttpSpec(url="https://example.org/", body_contains=HOSTILE, headers={"X-A": "x"})
    target = view(HOSTILE, spec)
    assert target.latest
    target = target.model_copy(update={"latest": target.latest.model_copy(update={"detail": HOSTILE})})
    reader.known = {target.id: target}
    reader.events = [each.model_copy(update={"name": HOSTILE, "detail": HOSTILE, "target": target.id})
                      for each in reader.events]  # fmt: skip
    reader.alerts = [alert(HOSTILE, HOSTILE, HOSTILE, target.created_at)]
    for path in ("/", f"/targets/{target.id}", f"/targets/{target.id}/edit"):
        page = (await client.get(path)).text
        assert "&lt;script&gt;alert(1)" in page, path
        assert "<script>alert" not in page
        assert "<img" not in page


async def test_a_job_is_not_probed_but_gets_a_new_url(client: httpx.AsyncClient, reader: FakeReader) -> None:
    backup = view("Backup", HeartbeatSpec(grace_seconds=1800), "up", typical=0)
    reader.known[backup.id] = backup
    page = (await client.get(f"/targets/{backup.id}")).text
    assert "New URL" in page
    assert 'id="heartbeat-url"></pre>' in page, "empty until one is created"
    assert "<dt>Grace</dt><dd>1800 s</dd>" in page
    for probing in ("Probe now", "<dt>Timeout</dt>", "<dt>Retries</dt>", "Responded in"):
        assert probing not in page
    shop = (await client.get(f"/targets/{identity(reader, 'Web shop')}")).text
    assert "New URL" not in shop
    assert "heartbeat-url" not in shop


async def test_the_form_has_the_settings_of_the_target(client: httpx.AsyncClient, reader: FakeReader) -> None:
    page = (await client.get(f"/targets/{identity(reader, 'Database, replica')}/edit")).text
    assert re.search(r'value="tcp" checked', page)
    assert re.search(r'name="spec/tcp/host"[^>]* value="10.20.0.12"', page)
    assert re.search(r'name="spec/tcp/port"[^>]* value="5432"', page)
    assert re.search(r'name="interval_seconds"[^>]* value="60"', page)
    assert "None" not in page


EVERYTHING: dict[str, Any] = {
    "url": "https://shop.example/", "method": "POST", "body": "\nline", "content_type": "text/plain",
    "expected_status": [200, "3xx"], "expected_headers": ["X-A == 1", "X-B"], "body_contains": "yes",
    "body_excludes": "no", "body_matches": "^y", "expected_json": ['$.a == "b"', "$.c > 1"], "min_body_bytes": 1,
    "max_body_bytes": 9, "slow_phases_ms": {"first_byte": 300.5, "tls": 100}, "expected_protocol": "HTTP/2",
    "username": "probe", "password": "a-password", "client_certificate": "secret:identity", "verify_tls": False,
    "ip_version": 6,
}  # fmt: skip


async def test_the_form_and_the_page_have_every_setting(client: httpx.AsyncClient, reader: FakeReader) -> None:
    target = identity(reader, "Web shop")
    spec = HttpSpec.model_validate(EVERYTHING)
    view = reader.known[target].model_copy(update={"spec": spec.masked(), "cautions": spec.cautions})
    reader.known[target] = view
    form = html.unescape((await client.get(f"/targets/{target}/edit")).text)
    for name, value in {
        "expected_status": "200, 3xx", "content_type": "text/plain", "body_excludes": "no", "body_matches": "^y",
        "min_body_bytes": "1", "max_body_bytes": "9", "username": "probe", "password": MASK,
    }.items():  # fmt: skip
        assert re.search(rf'name="spec/http/{name}"[^>]* value="{re.escape(value)}"', form), name
    for name, text in {
        "body": "\nline", "expected_headers": "X-A == 1\nX-B", "expected_json": '$.a == "b"\n$.c > 1',
        "slow_phases_ms": "first_byte: 300.5\ntls: 100\n", "client_certificate": "secret:identity",
    }.items():  # fmt: skip
        assert re.search(rf'<textarea[^>]* name="spec/http/{name}"[^>]*>\n{re.escape(text)}</textarea>', form), name
    for name, option in {"verify_tls": "no", "ip_version": "6", "expected_protocol": "HTTP/2"}.items():
        choice = re.search(rf'<select id="spec/http/{name}".*?</select>', form, re.DOTALL)
        assert choice, name
        assert f"<option selected>{option}</option>" in choice[0], name
    assert len(re.findall("<details [^>]*open>", form)) == 5, "three of the kind, two of all kinds"
    page = html.unescape((await client.get(f"/targets/{target}")).text)
    for fact in ('$.a == "b"', "X-A == 1", "above 300.5 ms", "basic, as probe", "secret:identity", "5 characters"):
        assert f"<dd>{fact}</dd>" in page, fact
    assert "Certificates are not verified" in page
    assert "a-password" not in form + page


async def test_the_form_of_a_new_target_shows_the_usual_settings(client: httpx.AsyncClient) -> None:
    form = (await client.get("/targets/new")).text
    assert "<details>" in form
    assert not re.search("<details [^>]*open>", form)
    assert "None" not in form
    folded = form.partition("<details")[2]
    for path in ("name", "spec/http/url", "spec/heartbeat/grace_seconds", "interval_seconds", "tags"):
        assert f'id="{path}"' not in folded, f"{path} is before all groups"


async def test_the_index_shows_available_parts_without_the_database(
    client: httpx.AsyncClient, reader: FakeReader
) -> None:
    reader.incidents_error = OperationalError("unavailable")
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "Incidents are unavailable at the moment" in answer.text
    assert "Customer API" in answer.text
    reader.error = OperationalError("unavailable")
    answer = await client.get("/")
    assert answer.status_code == 503
    assert "Targets unavailable" in answer.text


async def test_static_files_are_immutable_under_the_url_of_their_version(client: httpx.AsyncClient) -> None:
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
    assert other.headers["cache-control"] == "no-store", (
        "the URL of another release must not be cached with this content"
    )


def test_the_url_of_a_static_file_changes_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path).url("a.js")
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).url("a.js") != before


async def test_the_cost_of_the_index_is_that_of_its_page(client: httpx.AsyncClient, reader: FakeReader) -> None:
    async def rendered(count: int) -> tuple[int, str]:
        """Function calls for a page of `count` targets, and the page."""
        many(reader, count)
        overview = (await reader.overview(TargetFilter(), 1)).value
        reader.overview = AsyncMock(return_value=Cached(overview, "hit"))  # type: ignore[method-assign]
        calls = 0

        def count_call(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count_call)
        try:
            page = (await client.get("/")).text
        finally:
            sys.setprofile(None)
            del reader.overview
        return calls, page

    await rendered(1)  # compiles the template
    one, _ = await rendered(1)
    full, _ = await rendered(OVERVIEW_PAGE_SIZE)
    more, page = await rendered(20 * OVERVIEW_PAGE_SIZE)
    assert full - one < OVERVIEW_PAGE_SIZE * 1000
    assert more == pytest.approx(full, rel=0.05)
    assert len(page) < 150_000
    assert len(gzip.compress(page.encode())) < 20_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, views.NO_VALUE), (0.04, "0.0 ms"), (9.94, "9.9 ms"), (41.4, "41 ms"), (999.4, "999 ms"),
     (999.6, "1.00 s"), (12_340, "12.34 s")],
)  # fmt: skip
def test_latencies_are_formatted_with_their_unit(value: float | None, text: str) -> None:
    assert views.latency(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, views.NO_VALUE), (100, "100 %"), (99.999, "99.99 %"), (0, "0.00 %")]
)
def test_a_percentage_is_rounded_down(value: float | None, text: str) -> None:
    assert views.percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d"), (9e6, "104 d")]
)
def test_durations_are_formatted_in_the_appropriate_unit(seconds: float, text: str) -> None:
    assert views.span(seconds) == text


def test_a_sparkline_stays_within_its_bounds_and_breaks_at_failures() -> None:
    points = [Point(float(n), duration, "bad" if n == 2 else "poor" if n == 3 else "good")
              for n, duration in enumerate((5, 900, 1, 0, 12.5))]  # fmt: skip
    picture = views.sparkline(points, 100, 20)
    assert picture.line.count("M") == 2
    assert picture.bad.count("M") == picture.poor.count("M") == 1
    for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", picture.line):
        assert 0 <= float(x) <= 100
        assert 0 <= float(y) <= 20
    assert picture.description == "Last 5 results: 1 failed, 1 with a warning, 0.0 ms to 900 ms"


async def test_a_target_in_maintenance_is_no_failure(client: httpx.AsyncClient, reader: FakeReader) -> None:
    index = (await client.get("/")).text
    assert re.search(r'href="/\?state=maintenance"><strong>1</strong> in maintenance', index)
    assert "Up, maintenance until <time" in " ".join(index.split())
    assert named((await client.get("/?state=maintenance")).text) == ["Database, replica"]
    target = identity(reader, "Database, replica")
    page = " ".join((await client.get(f"/targets/{target}")).text.split())
    assert "<title>Database, replica is in maintenance" in page
    assert "until <time" in page
    assert "up for <time" in page
    assert "Upgrade of PostgreSQL" in page
    assert f'href="/maintenance/new?target={target}"' in page
    assert "Weekly release" not in page, "a window of a tag that the target lacks"
    assert "Weekly release" in (await client.get(f"/targets/{identity(reader, 'Customer API')}")).text


@pytest.mark.parametrize(
    ("counts", "headline", "worst"),
    [
        ({"up": 3, "maintenance": 1}, "3 of 4 targets up, 1 in maintenance", "up"),
        ({"maintenance": 4, "paused": 1}, "All 4 targets are in maintenance", "maintenance"),
        ({"maintenance": 1}, "The target is in maintenance", "maintenance"),
        ({"down": 1, "maintenance": 1}, "1 of 2 targets down", "down"),
        ({"unknown": 1, "maintenance": 1}, "Waiting for first results", "unknown"),
    ],
)
def test_the_headline_mentions_maintenance_unless_a_target_fails(
    counts: dict[ShownState, int], headline: str, worst: ShownState
) -> None:
    summary = views.Summary(dict.fromkeys(URGENCY, 0) | counts)
    assert (summary.headline, summary.worst) == (headline, worst)


def weekly_days(reader: FakeReader) -> list[str]:
    """The days of the weekly window."""
    [weekly] = [window.weekly for window in reader.windows.known.values() if window.weekly]
    return list(weekly.days)


async def test_maintenance_windows_are_listed_by_time(client: httpx.AsyncClient, reader: FakeReader) -> None:
    page = " ".join((await client.get("/maintenance")).text.split())
    assert re.findall(r'class="what">([^<]+)', page) == [
        "Upgrade of PostgreSQL", "Weekly release", "Move to another rack",
    ]  # fmt: skip
    assert re.findall(r"</svg>(\w+)</span>", page) == ["Active", "Planned", "Ended"]
    assert f'<a href="/targets/{identity(reader, "Database, replica")}">Database, replica</a>' in page
    assert f"{', '.join(weekly_days(reader)).title()} 02:30 for 1 h 30 min, Europe/Berlin" in page
    assert "no longer in effect" in page
    reader.windows.known.clear()
    assert "No maintenance windows." in (await client.get("/maintenance")).text


async def test_the_form_of_a_window_has_its_settings(client: httpx.AsyncClient, reader: FakeReader) -> None:
    windows = {window.name: window for window in reader.windows.known.values()}
    weekly = (await client.get(f"/maintenance/{windows['Weekly release'].id}/edit")).text
    assert re.search(r'name="tag"[^>]* value="shop"', weekly)
    assert re.findall(r'name="weekly/days" value="(\w+)"[^>]* checked', weekly) == weekly_days(reader)
    assert re.search(r'name="weekly/timezone"[^>]* value="Europe/Berlin"', weekly)
    once = (await client.get(f"/maintenance/{windows['Upgrade of PostgreSQL'].id}/edit")).text
    assert "<span>Target</span>Database, replica" in once
    assert re.search(r'data-time="\d{4}-[^"]+\+00:00"', once)
    new = (await client.get("/maintenance/new")).text
    assert 'name="tag"' in new
    of_target = (await client.get(f"/maintenance/new?target={identity(reader, 'Web shop')}")).text
    assert 'name="tag"' not in of_target
    for path in ("/maintenance/x/edit", f"/maintenance/{UUID(int=1)}/edit", "/maintenance/new?target=x"):
        assert (await client.get(path)).status_code == 404


async def test_names_of_windows_are_escaped(client: httpx.AsyncClient, reader: FakeReader) -> None:
    [first, *_] = reader.windows.known
    reader.windows.known[first] = reader.windows.known[first].model_copy(update={"name": HOSTILE})
    for path in ("/maintenance", f"/maintenance/{first}/edit", f"/targets/{identity(reader, 'Database, replica')}"):
        page = (await client.get(path)).text
        assert "alert(1)" in page
        assert "<script>alert" not in page


async def test_maintenance_is_unavailable_without_the_database(client: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.error = OperationalError("down")
    assert (await client.get("/maintenance")).status_code == 503
    assert (await client.get(f"/maintenance/{UUID(int=1)}/edit")).status_code == 503


@pytest.mark.parametrize(
    ("minutes", "text"), [(1, "1 min"), (60, "1 h"), (150, "2 h 30 min"), (10_079, "6 d 23 h 59 min")]
)
def test_durations_of_windows_are_exact(minutes: int, text: str) -> None:
    assert views.duration(minutes) == text
    assert views.days(["sun", "mon"]) == "Mon, Sun"


async def test_an_incident_in_maintenance_is_marked(client: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.events = [each.model_copy(update={"in_maintenance": each.id == 1}) for each in reader.events]
    page = (await client.get("/")).text
    assert page.count("ongoing</strong>, in maintenance") == 1
    assert page.count("ongoing</strong>") == 2
