"""Checks of inhibition: which alerts mute which, held by test cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from toolkit.validate import alerts
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import Source

FILE = "monitoring/alertmanager/alertmanager.yml"
TESTS = "monitoring/alertmanager/inhibition_tests.yml"
MATCHER = re.compile(r'\s*(?P<label>\w+)\s*(?P<operator>=~|!~|!=|=)\s*"?(?P<value>.*?)"?\s*')

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Matcher:
    """A condition on one label; a missing label is empty."""

    label: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """A matcher from Alertmanager's notation, such as ``service=~"app|worker"``.

        Raises:
            ValueError: it is no matcher.
        """
        found = MATCHER.fullmatch(text)
        if not found:
            raise ValueError(f"{text} is not a matcher")
        return cls(**found.groupdict())

    def matches(self, labels: Labels) -> bool:
        """Whether labels fulfil the condition."""
        value = labels.get(self.label, "")
        fulfilled = re.fullmatch(self.value, value) is not None if "~" in self.operator else value == self.value
        return fulfilled is not self.operator.startswith("!")


@dataclass(frozen=True)
class InhibitRule:
    """A rule of Alertmanager: while an alert matches the source, alerts that match the target are muted."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def mutes(self, source: Labels, target: Labels) -> bool:
        """Whether an alert mutes another one, by their labels.

        As in Alertmanager, an alert that matches both sides is not muted by another that does.
        """
        if not (_match(self.source, source) and _match(self.target, target)):
            return False
        if _match(self.source, target) and _match(self.target, source):
            return False
        return all(source.get(label, "") == target.get(label, "") for label in self.equal)

    def weakened(self) -> Iterator[tuple[str, InhibitRule]]:
        """The rule without one of its conditions on labels other than the name of the alert, for each of them."""
        for side, matchers in (("source", self.source), ("target", self.target)):
            for each in matchers:
                if each.label != "alertname":
                    others = tuple(other for other in matchers if other is not each)
                    weak = replace(self, source=others) if side == "source" else replace(self, target=others)
                    yield f"{each.label} of the {side}", weak
        if self.equal:
            yield "equal", replace(self, equal=())


class Case(NamedTuple):
    """A test case; ``number`` is its position in the file."""

    number: int
    source: Labels
    mutes: Sequence[Labels]
    spares: Sequence[Labels]
    why: str


def rules(source: Source) -> list[InhibitRule]:
    """The inhibition rules of Alertmanager's configuration, in its order.

    Raises:
        ValueError: a matcher is invalid.
    """
    return [
        InhibitRule(
            tuple(map(Matcher.parse, rule["source_matchers"])),
            tuple(map(Matcher.parse, rule["target_matchers"])),
            tuple(rule.get("equal", ())),
        )
        for rule in source.data.get("inhibit_rules", [])
    ]


def cases(source: Source) -> list[Case]:
    """The test cases, in their order."""
    return [
        Case(number, each["source"], each.get("mutes", ()), each.get("spares", ()), each.get("why", ""))
        for number, each in enumerate(source.data)
    ]


def tests(checkout: Checkout) -> Iterator[Finding]:
    """Every test case has its result and a reason, names alerts that exist, and every rule has a case."""
    configuration, source = checkout.source(FILE), checkout.source(TESTS)
    found = rules(configuration)
    names = {alert.name for alert in _alerts(checkout)}
    needed: set[int] = set()
    for case in cases(source):
        yield source.finding(case.number, "why", problem="" if case.why else "the reason is missing")
        for key, muted in (("mutes", True), ("spares", False)):
            for index, target in enumerate(getattr(case, key)):
                by = [number for number, rule in enumerate(found) if rule.mutes(case.source, target)]
                needed.update(by if muted else ())
                wrong = "" if bool(by) is muted else f"{target['alertname']} is {'sent' if muted else 'muted'}"
                yield source.finding(case.number, key, index, problem=wrong)
        unknown = {each["alertname"] for each in (case.source, *case.mutes, *case.spares)} - names
        yield source.finding(case.number, problem=f"unknown alert {min(unknown)}" if unknown else "")
    for number in range(len(found)):
        problem = "" if number in needed else "no test case mutes an alert by this rule"
        yield configuration.finding("inhibit_rules", number, problem=problem)


def conditions(checkout: Checkout) -> Iterator[Finding]:
    """A condition without which a rule would mute further alerts of the unit tests has a test case that spares one."""
    configuration, tested = checkout.source(FILE), cases(checkout.source(TESTS))
    fired = fired_labels(checkout)
    for number, rule in enumerate(rules(configuration)):
        for name, weak in rule.weakened():
            needed = any(weak.mutes(case.source, target) for case in tested for target in case.spares)
            further = (
                f"{source['alertname']} would mute {target['alertname']}"
                for source in fired
                if not needed
                for target in fired
                if weak.mutes(source, target) and not rule.mutes(source, target)
            )
            example = next(further, "")
            problem = f"no test case needs the condition {name}, without which {example}" if example else ""
            yield configuration.finding("inhibit_rules", number, problem=problem)


def coverage(checkout: Checkout) -> Iterator[Finding]:
    """No alert mutes another one without a test case: tried with all labels in the unit tests of the rules."""
    configuration = checkout.source(FILE)
    found = rules(configuration)
    expected = pairs(cases(checkout.source(TESTS)))
    fired = fired_labels(checkout)
    for number, rule in enumerate(found):
        muted = sorted(
            {
                (source["alertname"], target["alertname"])
                for source in fired
                if _match(rule.source, source)
                for target in fired
                if rule.mutes(source, target)
            }
            - expected
        )
        problem = f"{muted[0][0]} mutes {muted[0][1]}, which no test case expects" if muted else ""
        yield configuration.finding("inhibit_rules", number, problem=problem)


def pairs(found: Iterable[Case]) -> set[tuple[str, str]]:
    """The alerts that mute another one, and the alerts that they mute."""
    return {(case.source["alertname"], target["alertname"]) for case in found for target in case.mutes}


def never_muted(checkout: Checkout) -> list[str]:
    """The alerts that no other one mutes, by name."""
    muted = {target for _, target in pairs(cases(checkout.source(TESTS)))}
    return sorted({alert.name for alert in _alerts(checkout)} - muted)


def rows(checkout: Checkout) -> list[tuple[str, str, str, str]]:
    """The inhibitions of each alert: its name and significant labels, the muted alerts, equal labels, the reason."""
    found = rules(checkout.source(FILE))
    made = []
    for case in cases(checkout.source(TESTS)):
        by = [rule for rule in found if any(rule.mutes(case.source, target) for target in case.mutes)]
        muted = dict.fromkeys(_shown(target, [each for rule in by for each in rule.target]) for target in case.mutes)
        equal = ", ".join(dict.fromkeys(f"`{label}`" for rule in by for label in rule.equal)) or "-"
        shown = _shown(case.source, [each for rule in by for each in rule.source])
        made.append((shown, ", ".join(muted), equal, case.why))
    return made


def fired_labels(checkout: Checkout) -> list[Labels]:
    """The labels of every alert that fires in the unit tests of the rules, and one set for each alert without tests."""
    found: dict[tuple[tuple[str, str], ...], Labels] = {}

    def add(labels: Mapping[str, Any]) -> None:
        texts = {name: str(value) for name, value in labels.items()}
        found.setdefault(tuple(sorted(texts.items())), texts)

    for source in alerts.test_files(checkout):
        for case in source.data["tests"]:
            for test in case.get("alert_rule_test", ()):
                for alert in test.get("exp_alerts") or ():
                    add({"alertname": test["alertname"], **alert.get("exp_labels", {})})
    tested = {labels["alertname"] for labels in found.values()}
    for rule in _alerts(checkout):
        if rule.name not in tested:
            labels = {name: re.sub(r"\{\{.*\}\}", "app", str(value)) for name, value in rule.data["labels"].items()}
            add({"alertname": rule.name, **labels})
    return list(found.values())


def _alerts(checkout: Checkout) -> list[alerts.Rule]:
    return alerts.alerts(checkout, alerts.RULES + alerts.LOG_RULES)


def _match(matchers: Iterable[Matcher], labels: Labels) -> bool:
    return all(each.matches(labels) for each in matchers)


def _shown(labels: Labels, matchers: Iterable[Matcher]) -> str:
    """An alert's name, with the other labels that the matchers require."""
    others = dict.fromkeys(each.label for each in matchers if each.label != "alertname")
    required = ", ".join(f"{label}={labels[label]}" for label in others)
    return labels["alertname"] + (f" ({required})" if required else "")
