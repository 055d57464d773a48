"""The status page in a real browser, on a running stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.live import pipeline
from tests.live.browser import DESKTOP, PHONE, Visitor, chromium
from tests.live.stack import Stack, until

ADDRESS = "http://app:3000/api/health/live"
HOSTILE = "\"><script>window.broken=1</script><img src=x onerror='window.broken=1'>"
INKED = """() => {
  const canvas = document.querySelector("#plot canvas");
  if (!canvas) return 0;
  const colours = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(colours).size;
}"""
"""The number of colours in the plot: 1 if it is empty."""
LINE = """() => {
  const canvas = document.querySelector("#plot canvas");
  // A copy, since reading the plot repeatedly causes a warning.
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  const [red, green, blue] = context.fillStyle.match(/\\w\\w/g).map((each) => parseInt(each, 16));
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let first = canvas.width;
  for (let at = 0; at < data.length; at += 4)
    if (data[at] === red && data[at + 1] === green && data[at + 2] === blue)
      first = Math.min(first, (at / 4) % canvas.width);
  const box = document.getElementById("plot");
  const inner = box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight);
  return [first / canvas.width, canvas.getBoundingClientRect().right - inner];
}"""
"""Where the line in the plot begins, from 0 (left) to 1; and by how many pixels the plot is wider than its box."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, stack: Stack) -> Iterator[Visitor]:
    visitor = Visitor(browser, stack.url())
    yield visitor
    visitor.context.close()


@pytest.fixture
def target(stack: Stack) -> Iterator[str]:
    """The path of a target with a hostile name."""
    body = {"name": f"{HOSTILE}{uuid4().hex[:6]}", "spec": {"kind": "http", "url": ADDRESS}, "interval_seconds": 5}
    response = requests.post(stack.url("/api/targets"), json=body, headers=stack.authorization(), timeout=15)
    assert response.status_code == 201, response.text
    yield f"/targets/{response.json()['id']}"
    requests.delete(stack.url(f"/api/targets/{response.json()['id']}"), headers=stack.authorization(), timeout=15)


def test_a_target_is_added_viewed_edited_and_deleted(visitor: Visitor, stack: Stack) -> None:
    name = f"Ourselves {uuid4().hex[:6]}"
    page = visitor.see("/")
    page.get_by_role("link", name=re.compile("^Add ")).first.click()
    page.wait_for_load_state()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Address").fill("ourselves")
    page.get_by_role("button", name="Add target").click()
    expect(page.get_by_label("Address")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Address").fill(ADDRESS)
    page.get_by_label("Probe every").fill("5")
    page.get_by_role("button", name="Add target").click()

    enter_token(page, stack)
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    page.wait_for_load_state()
    expect(page.locator(".now .badge")).to_have_text("Up", timeout=30_000)
    until(lambda: page.evaluate(INKED) > 3, 30, "the plot to be drawn")
    begins, wider = page.evaluate(LINE)
    assert 0.8 < begins <= 1, "the axis spans 24 h, of which only the last minute has results"
    assert wider <= 0.5, "the last label would be cut off"

    page.get_by_role("button", name="Probe now").click()
    expect(page.get_by_role("status")).to_contain_text("Succeeded in", timeout=20_000)

    page.get_by_role("link", name="6h").click()
    expect(page.get_by_role("link", name="6h")).to_have_attribute("aria-current", "true")
    assert page.url.endswith("?span=6h")

    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".now .badge")).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".now .badge")).to_have_text(re.compile("Up|Unknown"))

    page.get_by_role("link", name="Edit").click()
    page.wait_for_load_state()
    expect(page.get_by_label("Address")).to_have_value(ADDRESS)
    page.get_by_label("Down after").fill("4")
    page.get_by_role("button", name="Save").click()
    # Validated by the API, across fields: more failures than results in the window.
    expect(page.locator("#form-error")).to_contain_text("must not exceed window")
    page.get_by_label("Of the last").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("4 of 5 results failed")).to_be_visible()

    page.get_by_role("link", name="All targets").click()
    expect(page.locator(".row", has_text=name)).to_be_visible()
    page.get_by_role("link", name=name).click()
    page.wait_for_load_state()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(stack.url("/"))
    expect(page.get_by_text(name)).to_have_count(0)
    # The browser logs each error response of the API; these two are expected.
    assert [each for each in visitor.complaints if "status of 401" not in each and "status of 422" not in each] == []


def test_the_url_of_a_job_is_shown_once_and_can_be_replaced(visitor: Visitor, stack: Stack) -> None:
    name = f"Backup {uuid4().hex[:6]}"
    page = visitor.see("/targets/new")
    page.evaluate("token => sessionStorage.setItem('netmon-token', token)", bearer(stack))
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("radio", name="Heartbeat").check()
    page.get_by_label("Grace").fill("86401")
    page.get_by_role("button", name="Add target").click()
    expect(page.get_by_label("Grace")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Grace").fill("30")
    expect(page.get_by_label("Down after")).to_have_value("1")
    page.get_by_label("Expected every").fill("60")
    page.get_by_role("button", name="Add target").click()
    url = page.locator("#heartbeat-url")
    expect(url).to_contain_text(stack.url("/api/heartbeats/hb_"))
    first = url.inner_text()
    assert f"curl -fsS -m 10 --retry 5 -o /dev/null {first}\n" in page.locator("#heartbeat-curl").inner_text()
    page.get_by_role("button", name="Copy URL").click()
    assert page.evaluate("getSelection().toString()") == first
    page.get_by_role("button", name="Done").click()
    assert requests.get(first, timeout=5).status_code == 200
    expect(page.locator(".now .badge")).to_have_text("Up", timeout=15_000)
    assert first.rpartition("/")[2] not in page.content()
    page.reload()
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.get_by_role("button", name="New URL").click()
    page.get_by_role("button", name="Create URL").click()
    expect(url).to_contain_text("hb_")
    assert requests.get(first, timeout=5).status_code == 404
    assert requests.get(url.inner_text(), timeout=5).status_code == 200
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(stack.url("/"))
    assert visitor.complaints == []


def bearer(stack: Stack) -> str:
    """The API token."""
    return stack.authorization()["Authorization"].removeprefix("Bearer ")


def enter_token(page: Page, stack: Stack) -> None:
    """Enter a wrong token in the dialog, then the right one."""
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("dialog")).to_contain_text("not accepted")
    page.get_by_role("textbox", name="Token").fill(bearer(stack))
    page.get_by_role("button", name="Continue").click()


def test_a_maintenance_window_is_added_edited_and_deleted(visitor: Visitor, stack: Stack, target: str) -> None:
    name = f"Window {uuid4().hex[:6]}"
    page = visitor.see(target)
    page.get_by_role("link", name="Add window").click()
    page.wait_for_load_state()
    page.evaluate("token => sessionStorage.setItem('netmon-token', token)", bearer(stack))
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("radio", name="Weekly").check()
    page.get_by_label("Starts at").fill("02:30")
    page.get_by_role("button", name="Add window").click()
    expect(page.get_by_text("Choose at least one day.")).to_be_visible()
    page.get_by_label("Sun").check()
    page.get_by_label("Time zone").fill("Europe/Berln")
    page.get_by_role("button", name="Add window").click()
    expect(page.get_by_text("did you mean Europe/Berlin?")).to_be_visible()
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_role("button", name="Add window").click()
    expect(page).to_have_url(stack.url(target))
    expect(page.get_by_text("Sun 02:30 for 1 h, Europe/Berlin")).to_be_visible()

    page.get_by_role("link", name=name).click()
    page.wait_for_load_state()
    page.get_by_role("radio", name="Once").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".now .badge")).to_have_text("Maintenance", timeout=15_000)

    page = visitor.see("/maintenance")
    row = page.get_by_role("listitem").filter(has_text=name)
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert [each for each in visitor.complaints if "status of 422" not in each] == []


def test_a_duplicate_name_is_reported_at_its_field(visitor: Visitor, stack: Stack, target: str) -> None:
    name = requests.get(stack.url(f"/api{target}"), timeout=5).json()["name"]
    page = visitor.see("/targets/new")
    page.evaluate("token => sessionStorage.setItem('netmon-token', token)", bearer(stack))
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Address").fill(ADDRESS)
    page.get_by_role("button", name="Add target").click()
    expect(page.get_by_role("textbox", name="Name")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("textbox", name="Name")).to_be_focused()


def test_the_value_of_a_header_is_kept_and_never_shown(visitor: Visitor, stack: Stack) -> None:
    kept, new = uuid4().hex, uuid4().hex
    spec = {"kind": "http", "url": ADDRESS, "headers": {"X-Key": kept}}
    body = {"name": f"Keyed {kept[:6]}", "spec": spec, "enabled": False}
    response = requests.post(stack.url("/api/targets"), json=body, headers=stack.authorization(), timeout=15)
    target = response.json()["id"]
    try:
        page = visitor.see(f"/targets/{target}/edit")
        page.evaluate("token => sessionStorage.setItem('netmon-token', token)", bearer(stack))
        headers = page.get_by_label("Headers", exact=True)
        expect(headers).to_have_value("X-Key: •••\n")
        headers.fill("X-Other: •••")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("the value is masked")).to_be_visible()
        headers.fill(f"X-Key: •••\nX-New: {new}")
        page.get_by_label("Retries").fill("1")
        page.get_by_role("button", name="Save").click()
        expect(page).to_have_url(stack.url(f"/targets/{target}"))
        [stored] = pipeline.sql(stack, f"SELECT retries, spec FROM targets WHERE id = '{target}'")  # noqa: S608
        assert stored["retries"] == 1
        assert stored["spec"]["headers"] == {"X-Key": kept, "X-New": new}
        for path in (f"/targets/{target}", f"/targets/{target}/edit"):
            content = visitor.see(path).content()
            assert kept not in content, path
            assert new not in content, path
        assert [each for each in visitor.complaints if "status of 422" not in each] == []
    finally:
        requests.delete(stack.url(f"/api/targets/{target}"), headers=stack.authorization(), timeout=15)


def test_bad_checks_are_shown_at_their_fields(visitor: Visitor, stack: Stack) -> None:
    page = visitor.see("/targets/new")
    page.get_by_role("textbox", name="Name", exact=True).first.fill(f"Checked {uuid4().hex[:6]}")
    page.get_by_label("Address").fill(ADDRESS)
    page.get_by_label("Expected status").fill("200, 2x")
    page.get_by_text("More checks of the response").click()
    page.get_by_label("Expected JSON").fill("$.status == up")
    page.get_by_label("Regular expression").fill("(")
    page.get_by_label("Slow phases").fill("tls: fast")
    page.get_by_text("More checks of the response").click()
    page.get_by_role("button", name="Add target").click()
    enter_token(page, stack)
    for label, reason in {
        "Expected status": "not a status from 100 to 599",
        "Expected JSON": "in double quotes",
        "Regular expression": "not a regular expression of RE2",
        "Slow phases": "valid number",
    }.items():
        field = page.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_be_visible()
        expect(page.locator(".field", has=field).locator(".error")).to_contain_text(reason)
    assert [each for each in visitor.complaints if "status of 401" not in each and "status of 422" not in each] == []


def test_the_checks_of_a_form_are_stored_and_shown(visitor: Visitor, stack: Stack) -> None:
    name = f"Checked {uuid4().hex[:6]}"
    page = visitor.see("/targets/new")
    page.get_by_role("textbox", name="Name", exact=True).first.fill(name)
    page.get_by_label("Address").fill(ADDRESS)
    page.get_by_label("Expected status").fill("2xx")
    page.get_by_text("More checks of the response").click()
    page.get_by_label("Expected headers").fill("Content-Type contains json\nX-Request-Id")
    page.get_by_label("Expected JSON").fill('$.status == "alive"')
    page.get_by_label("Slow phases").fill("first_byte: 5000")
    page.get_by_label("Protocol").select_option("HTTP/1.1")
    page.get_by_role("button", name="Add target").click()
    enter_token(page, stack)
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    target = page.url.rpartition("/")[2]
    try:
        spec = requests.get(stack.url(f"/api/targets/{target}"), timeout=15).json()["spec"]
        assert spec["expected_status"] == ["2xx"]
        assert spec["expected_headers"] == ["Content-Type contains json", "X-Request-Id"]
        assert spec["expected_json"] == ['$.status == "alive"']
        assert spec["slow_phases_ms"] == {"first_byte": 5000}
        assert spec["expected_protocol"] == "HTTP/1.1"
        assert "max_redirects" not in spec, "an empty field is not set"
        expect(page.get_by_text('$.status == "alive"')).to_be_visible()
    finally:
        requests.delete(stack.url(f"/api/targets/{target}"), headers=stack.authorization(), timeout=15)


@pytest.mark.parametrize("kind", ["TCP", "TLS", "gRPC", "DNS", "Ping", "Heartbeat"])
def test_the_form_shows_the_fields_of_a_kind(visitor: Visitor, kind: str) -> None:
    page = visitor.see("/targets/new")
    page.get_by_role("radio", name=kind).check()
    code_block = {set_.get_attribute("data-kind") for set_ in page.locator("[data-kind]").all() if set_.is_visible()}
    assert code_block == {kind.lower()}
    expect(page.get_by_label("Tags")).to_be_visible()
    expect(page.get_by_label("Down after")).to_be_hidden()
    page.get_by_text("States and alerts").click()
    expect(page.get_by_label("Down after")).to_be_visible()
    expect(page.get_by_text("Timeout and retries")).to_be_visible(visible=kind != "Heartbeat")


@pytest.mark.parametrize(
    ("kind", "valid", "field", "wrong", "message"),
    [
        ("TCP", {"host": "a.example", "port": "1"}, "send", r"\q", r"\q is not valid"),
        ("TLS", {"host": "a.example"}, "server_name", "a b", "not a valid host name"),
        ("gRPC", {"host": "a.example", "port": "1"}, "headers", "te: a", "te is set by the probe itself"),
        ("DNS", {"name": "a.example"}, "resolver", "a.example", "not an IP address"),
        ("Ping", {"host": "a.example"}, "maximum_jitter_ms", "5", "jitter needs at least two packets"),
    ],
)
def test_an_error_is_shown_at_its_field_and_the_target_is_added_without_it(
    stack: Stack, visitor: Visitor, kind: str, valid: dict[str, str], field: str, wrong: str, message: str
) -> None:
    name = f"{kind} {uuid4().hex[:6]}"
    page = visitor.see("/targets/new")
    page.evaluate("token => sessionStorage.setItem('netmon-token', token)", bearer(stack))
    page.locator("[id='name']").fill(name)
    page.get_by_role("radio", name=kind).check()
    for setting, value in valid.items():
        page.locator(f"[id='spec/{kind.lower()}/{setting}']").fill(value)
    for each in page.locator(f"[data-kind={kind.lower()}] summary").all():
        each.click()
    place = page.locator(f"[id='spec/{kind.lower()}/{field}']")
    place.fill(wrong)
    page.get_by_role("button", name="Add target").click()
    expect(page.locator(f"[id='about/spec/{kind.lower()}/{field}'] .error")).to_contain_text(message)
    place.fill("")
    page.get_by_role("button", name="Add target").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    target = page.url.rpartition("/")[2]
    requests.delete(stack.url(f"/api/targets/{target}"), headers=stack.authorization(), timeout=15)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_fits_and_loads_nothing_from_other_origins(
    browser: Browser, stack: Stack, target: str, size: tuple[int, int], scheme: str
) -> None:
    visitor = Visitor(browser, stack.url(), size, scheme)
    for path in (
        "/",
        target,
        f"{target}/edit",
        "/targets/new",
        "/maintenance",
        f"/maintenance/new?target={target[9:]}",
    ):
        page = visitor.see(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(500)
        assert visitor.overflow() == 0, path
        assert page.evaluate("window.broken") is None, path
    visitor.see(target)
    until(lambda: page.evaluate(INKED) > 3, 30, "the plot to be drawn")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    assert visitor.complaints == []
    visitor.context.close()


def test_changes_appear_without_a_click(visitor: Visitor, stack: Stack, target: str) -> None:
    page = visitor.see("/")
    row = page.locator(f"#target-{target.rpartition('/')[2]}")
    link = row.get_by_role("link")
    link.focus()
    response = requests.patch(
        stack.url(f"/api{target}"), json={"enabled": False}, headers=stack.authorization(), timeout=15
    )
    assert response.status_code == 200, response.text
    expect(row.locator(".badge")).to_have_text("Paused", timeout=15_000)
    expect(link).to_be_focused()
    assert visitor.complaints == []


@pytest.fixture
def crowd(stack: Stack) -> Iterator[str]:
    """The common part of the names of 60 targets: one down, the others paused."""
    mark = f"crowd-{uuid4().hex[:6]}"
    statement = f"""
        WITH added AS (
            INSERT INTO targets (
                id, name, spec, interval_seconds, timeout_seconds, retries, failures, "window", enabled,
                created_at, updated_at, due_at)
            SELECT gen_random_uuid(), '{mark} ' || to_char(number, 'FM00'), '{{"kind": "ping", "host": "192.0.2.1"}}',
                86400, 1, 0, 1, 1, number = 60, now(), now(), now() + interval '1 day'
            FROM generate_series(1, 60) AS number RETURNING id, enabled)
        INSERT INTO standings SELECT id, CASE WHEN enabled THEN 'down' ELSE 'unknown' END, now(), '[]' FROM added"""  # noqa: S608
    pipeline.execute(stack, statement)
    yield mark
    pipeline.execute(stack, f"DELETE FROM targets WHERE name LIKE '{mark}%'")  # noqa: S608


def test_a_target_is_found_among_many_with_the_keyboard(visitor: Visitor, crowd: str) -> None:
    page = visitor.see("/")
    search = page.get_by_role("searchbox", name="Search targets")
    search.press_sequentially(crowd)
    expect(page.get_by_role("status").filter(has_text=crowd)).to_have_text(f"60 targets with “{crowd}”")
    expect(search).to_be_focused()
    expect(page.locator(".rows .row")).to_have_count(50)
    expect(page.locator(".rows .row").first).to_contain_text(f"{crowd} 60")
    page.get_by_role("link", name="Next →").press("Enter")
    expect(page.get_by_text("51 to 60 of 60")).to_be_visible()
    expect(page.locator(".rows .row")).to_have_count(10)
    page.get_by_role("link", name="← Previous").press("Enter")
    expect(page.get_by_text("1 to 50 of 60")).to_be_visible()
    search.press("End")
    search.press_sequentially(" 42")
    expect(page.locator(".rows .row")).to_have_count(1)
    page.get_by_role("link", name=re.compile("down$")).first.press("Enter")
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page.locator(".rows")).to_contain_text(f"{crowd} 60")
    page.get_by_role("link", name="Show all targets").press("Enter")
    expect(page).to_have_url(re.compile("/$"))
    assert visitor.complaints == []


def test_a_filtered_page_stays_live(visitor: Visitor, stack: Stack, crowd: str) -> None:
    page = visitor.see(f"/?q={crowd}&page=2")
    expect(page.locator(".rows .row").last).to_contain_text(f"{crowd} 59")
    pipeline.execute(stack, f"UPDATE targets SET name = '{crowd} 59 renamed' WHERE name = '{crowd} 59'")  # noqa: S608
    expect(page.locator(".rows .row").last).to_contain_text("renamed", timeout=15_000)


def test_targets_are_searched_without_scripts(browser: Browser, stack: Stack, crowd: str) -> None:
    visitor = Visitor(browser, stack.url(), scripts=False)
    page = visitor.see("/?state=paused")
    page.get_by_role("searchbox").fill(f"{crowd} 1")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".rows .row")).to_have_count(10)
    expect(page.get_by_role("searchbox")).to_have_value(f"{crowd} 1")
    assert page.url.endswith(f"/?state=paused&q={crowd}+1")
    assert visitor.complaints == []
    visitor.context.close()


def test_the_page_is_readable_without_scripts(browser: Browser, stack: Stack, target: str) -> None:
    visitor = Visitor(browser, stack.url(), scripts=False)
    page = visitor.see("/")
    row = page.locator(f"#target-{target.rpartition('/')[2]}")
    expect(row).to_contain_text(ADDRESS)
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Last 24 hours")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    visitor.context.close()
