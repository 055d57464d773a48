"""Checks of style: the order of keys in services, and header comments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import items

# Image, user, configuration, storage, network, health, resources.
KEY_ORDER = (
    *("<<", "extends", "image", "build", "pull_policy", "profiles"),
    *("hostname", "user", "group_add", "init", "cap_drop", "cap_add", "security_opt", "read_only"),
    *("entrypoint", "command", "working_dir", "env_file", "environment", "secrets", "configs"),
    *("volumes", "tmpfs", "shm_size", "devices", "ulimits", "sysctls"),
    *("ports", "expose", "networks", "dns", "dns_search", "dns_opt", "extra_hosts", "depends_on"),
    *("labels", "healthcheck", "restart", "stop_signal", "stop_grace_period", "oom_score_adj"),
    *("logging", "deploy", "develop"),
)
COMMENTED = (".yml", ".yaml", ".sh", ".sql", ".conf", "Dockerfile", "Caddyfile")


def key_order(checkout: Checkout) -> Iterator[Finding]:
    """The keys of every service have the same order."""
    for source in checkout.layers:
        for name, service in items(source.node_at("services")):
            last = ""
            for key, _ in items(service):
                problem = ""
                if key.value not in KEY_ORDER:
                    problem = f"{name.value}: {key.value} is missing from the order of keys (toolkit/validate/style.py)"
                elif last and KEY_ORDER.index(key.value) < KEY_ORDER.index(last):
                    problem = f"{name.value}: {key.value} must come before {last}"
                else:
                    last = key.value
                yield source.at(key, problem)


def headers(checkout: Checkout) -> Iterator[Finding]:
    """Every YAML, shell, SQL and configuration file and every Dockerfile has a header comment."""
    for file in sorted(checkout.tracked):
        if not file.endswith(COMMENTED):
            continue
        lines = (checkout.root / file).read_text(encoding="utf-8").splitlines()
        first = next((line for line in lines if not line.startswith(("#!", "---", "# syntax="))), "")
        mark = "--" if PurePath(file).suffix == ".sql" else "# "
        yield Finding(file, 1, "" if first.startswith(mark) else "has no header comment")
