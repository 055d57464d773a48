"""Checks of the hardening rules in every profile, and of the exceptions in policy.yml."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.policy import exemptions
from toolkit.policy.exemptions import FILE, Exemption
from toolkit.policy.rule import Rule, Scope, Service, Violation, unexempted, violations
from toolkit.policy.rules import RULES
from toolkit.validate.checkout import Checkout, Configuration, is_job
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.source import elements


def rules(checkout: Checkout) -> Iterator[Finding]:
    """Every service of every combination of layers follows every rule in scope, exceptions apart."""
    exempt = _exemptions(checkout)
    for each, service in _services(checkout):
        yield checkout.place(each.files, "services", service.name)
        for rule, violation in unexempted(RULES, service, exempt, hardened=checkout.is_hardened(each)):
            yield _place(checkout, each, service, rule, violation)


def exceptions(checkout: Checkout) -> Iterator[Finding]:
    """Every entry of policy.yml names a known service and rule, has a reason, and is still needed."""
    source, exempt = checkout.source(FILE), _exemptions(checkout)
    services = {service.name for _, service in _services(checkout)}
    needed = {
        (service.name, rule.name, violation.of)
        for each, service in _services(checkout)
        for rule, violation in violations(RULES, service, hardened=checkout.is_hardened(each))
    }
    for number, entry in enumerate(exempt):
        what = (entry.service, entry.rule, entry.of)
        problem = ""
        if entry.service not in services:
            problem = f"unknown service {entry.service}"
        elif entry.rule not in {rule.name for rule in RULES}:
            problem = f"unknown rule {entry.rule}"
        elif not entry.reason.strip():
            problem = "the reason is missing"
        elif any((other.service, other.rule, other.of) == what for other in exempt[:number]):
            problem = f"duplicate exception of {entry.service} from {entry.rule}"
        elif what not in needed:
            of = f" of {entry.of}" if entry.of else ""
            problem = f"{entry.service} follows the rule {entry.rule}{of}: the exception is not needed"
        yield source.finding("exceptions", number, problem=problem)


def _services(checkout: Checkout) -> Iterator[tuple[Configuration, Service]]:
    tools = checkout.project.data["tools"]
    for each in checkout.full_configurations:
        for name, config in each.services.items():
            yield each, Service(name, config, checkout.root, is_job(each, name, tools))


def _exemptions(checkout: Checkout) -> tuple[Exemption, ...]:
    try:
        return exemptions.load(checkout.root)
    except exemptions.InvalidPolicyError as error:
        raise BrokenFileError(Finding(FILE, 1, error.why)) from error


def _place(
    checkout: Checkout, configuration: Configuration, service: Service, rule: Rule, violation: Violation
) -> Finding:
    """A finding where the layers break a rule; a setting missing from the security layer is reported there."""
    problem = f"{service.name} {violation.problem}"
    if violation.keys[0] == "volumes":
        return checkout.mount(configuration.files, service.name, violation.keys[1], problem)
    keys = ("services", service.name, *violation.keys)
    if violation.keys == ("tmpfs",):
        for source in map(checkout.source, configuration.files):
            for node in elements(source.node_at(*keys)):
                if str(node.value).partition(":")[0] == violation.of:
                    return source.at(node, problem)
    written = any(checkout.source(file).node_at(*keys) for file in configuration.files)
    known = checkout.source(checkout.security_layer).node_at("services", service.name)
    missing = rule.scope is Scope.HARDENED and known and not written
    return checkout.place((checkout.security_layer,) if missing else configuration.files, *keys, problem=problem)
