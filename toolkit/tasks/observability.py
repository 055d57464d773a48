"""Tasks for metrics, logs, traces, dashboards and alerts."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import checkout, positive, task


@task()
def check(c: Context) -> None:
    """Verify live metrics, panels, dashboards and one traced request against the configuration."""
    from toolkit.observe.check import check

    report = check(*checkout(c))
    report.show()
    report.require()


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
