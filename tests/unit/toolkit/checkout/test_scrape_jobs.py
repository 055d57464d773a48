"""Scrape jobs: which service shows its metrics where."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.checkout.scrape_jobs import FOLDER, metrics_pages
from toolkit.core.errors import ToolkitError

ROOT = Path(__file__).parents[4]


def test_pages_of_this_checkout() -> None:
    pages = metrics_pages(ROOT)
    assert pages["redis-exporter"] == "http://redis-exporter:9121/metrics"
    assert pages["rabbitmq"].startswith("http://rabbitmq:15692/metrics")
    assert pages["backup"] == "http://backup:9102/metrics", "its file is that of a group"
    assert "app" not in pages, "its replicas are looked up"


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "broken.yml").write_text("scrape_configs: [")
    with pytest.raises(ToolkitError, match="is not valid YAML"):
        metrics_pages(tmp_path)
