"""The scrape jobs of Prometheus as data: the metrics page of each service."""

from __future__ import annotations

from pathlib import Path

from toolkit.checkout.variables import parse

FOLDER = Path("monitoring/prometheus/scrape")
GROUPS = "monitoring/*/scrape*.yml"
"""The files of groups and profiles, which are mounted with them."""


def metrics_pages(root: Path) -> dict[str, str]:
    """The URL of the page that is scraped of each service with a job of its name, on the networks of the stack.

    Jobs with several targets, or with targets that are looked up, are left out.

    Raises:
        ToolkitError: a file cannot be read or is not YAML.
    """
    pages = {}
    for path in sorted([*(root / FOLDER).rglob("*.yml"), *root.glob(GROUPS)]):
        for job in parse(path).get("scrape_configs") or ():
            targets = [target for config in job.get("static_configs", ()) for target in config["targets"]]
            if len(targets) == 1 and targets[0].partition(":")[0] == job["job_name"]:
                pages[job["job_name"]] = f"http://{targets[0]}{job.get('metrics_path', '/metrics')}"
    return pages
