"""Tasks for metrics, logs, traces, dashboards and alerts."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import JSON, checkout, positive, task


@task(help={"json": JSON})
def check(c: Context, json: bool = False) -> None:
    """Verify live metrics, panels, dashboards and one traced request against the configuration."""
    from toolkit.core.presentation import present
    from toolkit.core.report import NO_FINDINGS
    from toolkit.observe.check import check

    present("observe.check", lambda: check(*checkout(c)), NO_FINDINGS, as_json=json)


@task(help={"seconds": "duration of the traffic", "rate": "requests a second"})
def demo(c: Context, seconds: str = "60", rate: str = "5") -> None:
    """Generate sample traffic, failures included, so that the dashboards have data; Ctrl-C ends it."""
    from toolkit.operate.demo import demo

    demo(*checkout(c), positive("seconds", seconds, "seconds"), positive("rate", rate, "requests a second")).show()


@task(name="reload")
def reload_(c: Context) -> None:
    """Validate the monitoring configuration, reload the running programs, and verify that they use it."""
    from toolkit.operate.reload import reload

    reload(*checkout(c))
