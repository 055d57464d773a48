"""A fake Alertmanager: its silences and active alerts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.programs import Programs
from toolkit.operate.silences import CLEARING


class Alertmanager:
    """Reached from inside the stack; ``active`` are the services with an active alert."""

    def __init__(self, docker: FakeDocker) -> None:
        self.silences: list[dict[str, Any]] = []
        self.active: list[str] = []
        self.programs = Programs(docker)
        self.programs.on("alertmanager/api/v2/silences", self._answer)
        self.programs.on(
            "alertmanager/api/v2/alerts", lambda _: [{"labels": {"service": each}} for each in self.active]
        )

    def _answer(self, _parameters: Any) -> Any:
        request = self.programs.requests[-1]
        if request["method"] == "GET":
            return self.silences
        document = json.loads(request["body"])
        known = next((each for each in self.silences if each["id"] == document.get("id")), None)
        if known is not None:
            known |= document
            return {"silenceID": known["id"]}
        self.silences.append(document | {"id": str(len(self.silences)), "status": {"state": "active"}})
        return {"silenceID": self.silences[-1]["id"]}

    def _alerts(self, _parameters: Any) -> Any:
        return [{"labels": {"service": service}} for service in self.active]

    def silenced(self) -> list[dict[str, list[str]]]:
        """The matchers of each silence."""
        return [{each["name"]: each["value"].split("|") for each in one["matchers"]} for one in self.silences]

    def ending(self) -> list[bool]:
        """Whether each silence ends in a moment."""
        return [datetime.fromisoformat(each["endsAt"]) <= datetime.now(UTC) + CLEARING for each in self.silences]
