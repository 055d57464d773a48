"""Tasks on metrics, logs, traces, dashboards and alerts."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from toolkit.tasks import checkout, positive


@task
def check(c: Context) -> None:
    """Hold the live metrics, panels, dashboards and one followed request against what the files say."""
    from toolkit.observe.check import check

    report = check(*checkout(c))
    report.show()
    report.require()


@task(help={"seconds": "for how long", "rate": "requests a second"})
def demo(c: Context, seconds: str = "60", rate: str = "5") -> None:
    """Use the application for a while, failures included, so that the dashboards live; Ctrl-C ends it."""
    from toolkit.operate.demo import demo

    demo(*checkout(c), positive("seconds", seconds, "seconds"), positive("rate", rate, "requests a second")).show()


@task(name="reload")
def reload_(c: Context) -> None:
    """Check the monitoring's configuration, let what runs read it again, and compare that with the files."""
    from toolkit.operate.reload import reload

    reload(*checkout(c))
