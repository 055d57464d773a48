"""Dashboards, data sources and the positions in them, for the checks of Grafana's files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from toolkit.checkout import dashboards
from toolkit.checkout.dashboards import Keys, Model
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.source import Source

PROVISIONED = "monitoring/grafana/provisioning/datasources/"
OF_GROUPS = "monitoring/grafana/groups/"
RULES = "monitoring/prometheus/rules/"


class Dashboard(NamedTuple):
    """A dashboard file: its content and its positions."""

    model: Model
    source: Source

    def at(self, *keys: str | int, problem: str = "") -> Finding:
        """A finding at ``keys``, or at the deepest of them in the file."""
        return self.source.finding(*keys, problem=problem)


def dashboard_files(checkout: Checkout) -> dict[str, Dashboard]:
    """Every tracked dashboard by its file.

    Raises:
        BrokenFileError: one is not JSON, or has a duplicate key.
    """
    found = {}
    for file in tracked(checkout, f"{dashboards.FOLDER}/", ".json"):
        text = (checkout.root / file).read_text(encoding="utf-8")
        try:
            model = json.loads(text, object_pairs_hook=_unique_keys)
        except json.JSONDecodeError as error:
            raise BrokenFileError(Finding(file, error.lineno, f"is not valid JSON: {error.msg}")) from error
        except ValueError as error:
            raise BrokenFileError(Finding(file, 1, str(error))) from error
        found[file] = Dashboard(model, checkout.source(file))
    return found


def datasources(checkout: Checkout, folder: str) -> list[tuple[Source, int, dict[str, Any]]]:
    """The data sources of the provisioning files in a folder, each with its file and its index."""
    sources = [checkout.source(file) for file in tracked(checkout, folder, ".yml")]
    return [
        (source, number, each) for source in sources for number, each in enumerate(source.data.get("datasources") or [])
    ]


def targets(model: Model) -> Iterator[tuple[Keys, Model]]:
    """Every query of a dashboard's panels and annotations with its path of keys."""
    for keys, panel in dashboards.panels(model):
        for number, target in enumerate(panel.get("targets", [])):
            yield (*keys, "targets", number), target
    for number, annotation in enumerate(model.get("annotations", {}).get("list", [])):
        if "target" in annotation:
            target = {"datasource": annotation["datasource"], **annotation["target"]}
            yield ("annotations", "list", number, "target"), target


def values(value: object, name: str, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value of the key ``name`` below ``value``, with its path of keys."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == name:
                yield (*keys, key), inner
            yield from values(inner, name, (*keys, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from values(inner, name, (*keys, number))


def tracked(checkout: Checkout, folder: str, suffix: str) -> list[str]:
    """The tracked files below ``folder`` whose names end with ``suffix``."""
    return sorted(file for file in checkout.tracked if file.startswith(folder) and file.endswith(suffix))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate keys."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(name for name in names if names.count(name) > 1)}")
    return made
