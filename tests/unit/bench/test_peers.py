"""The configuration of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.peers import scrapes, write
from bench.probe_cost import FREQUENT, MANY, urls


def test_each_url_is_probed_by_blackbox_exporter_in_each_interval() -> None:
    found = scrapes(urls("http://host/", 2), 5)
    assert found["global"] == {"scrape_interval": "5s", "scrape_timeout": "5s"}
    [job] = found["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["http://host/?0", "http://host/?1"]}]
    assert job["relabel_configs"][-1] == {"target_label": "__address__", "replacement": "blackbox-exporter:9115"}


def test_without_urls_nothing_is_scraped() -> None:
    assert scrapes((), 60) == {
        "global": {"scrape_interval": "60s", "scrape_timeout": "10s"}, "scrape_configs": [],
    }  # fmt: skip


def test_a_configuration_is_readable_for_the_user_of_the_container(tmp_path: Path) -> None:
    write(tmp_path / "a.yml", {"a": 1})
    assert yaml.safe_load((tmp_path / "a.yml").read_text()) == {"a": 1}
    assert (tmp_path / "a.yml").stat().st_mode & 0o777 == 0o644


def test_rates() -> None:
    assert FREQUENT.per_second == 80
    assert MANY.per_second == pytest.approx(33.3, abs=0.1)
    assert (FREQUENT.key, str(MANY)) == ("400x5", "2000 targets every 60 s")
