"""Another application instead of the Network Monitor, see docs/bring-your-own-app.md."""

from __future__ import annotations

from tests.live.stack import CHECKOUT, Stack


def test_another_application_replaces_the_network_monitor(own_stack: Stack) -> None:
    """A minimal application fulfils the contract of docs/bring-your-own-app.md."""
    foreign = own_stack.root / "tests" / "fixtures" / "foreign-app"
    assert (CHECKOUT / "tests" / "fixtures" / "foreign-app" / "app.py").exists()
    with (own_stack.root / ".env").open("a") as settings:
        settings.write(f"APP_CONTEXT={foreign}\nWORKER_REPLICAS=0\n")
    report = own_stack.invoke("up", "--profile=dev", timeout=900).stdout
    assert "skipped" in report, "the end-to-end probe of the Network Monitor must not count as passed"
    assert own_stack.health()[0] == 200
    assert own_stack.container("app")["Config"]["Image"].endswith("network-monitor-replacement:dev")
    assert "worker" not in own_stack.services()
    own_stack.control("stop", "app")
    assert own_stack.container("app")["State"]["ExitCode"] == 0
