"""The commands of the local image set, which replace those of the published images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.validate.checkout import Checkout

ROOT = Path(__file__).resolve().parents[4]
DIFFERENCES = {
    # Debian's build has no OTLP receiver; remote write is on in both sets.
    "prometheus": {"--web.enable-otlp-receiver"},
    # noise.yml needs a filter that the local build lacks; jaeger.yml is for the group jaeger beside Tempo.
    "otel-collector": {f"--config=/etc/otel-collector/{name}.yml" for name in ("noise", "jaeger", "local")},
}


def test_a_local_command_has_the_options_of_the_published_one() -> None:
    found: dict[str, set[frozenset[str]]] = {}
    services: Mapping[str, Mapping[str, Any]]
    for configuration in Checkout(ROOT).full_configurations:
        services = configuration.services
        for name, service in services.items():
            if service.get("command"):
                found.setdefault(name, set()).add(frozenset(service["command"]))
    differences = {}
    for name, commands in found.items():
        if different := frozenset.union(*commands) - frozenset.intersection(*commands):
            differences[name] = set(different)
    assert differences == DIFFERENCES
