"""The checkout and the engine under examination."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from toolkit.checkout.project import Project
from toolkit.checkout.variables import variables_used
from toolkit.engine import shapes
from toolkit.engine.compose import Docker


@dataclass(frozen=True)
class Subject:
    """A checkout and its engine, with cached queries."""

    project: Project
    docker: Docker

    @cached_property
    def configuration(self) -> shapes.Configuration:
        """The effective configuration.

        Raises:
            ToolkitError: the checkout is not set up, or its compose files cannot be read.
        """
        self.project.require_setup()
        return self.docker.effective()

    @cached_property
    def variables(self) -> dict[str, str]:
        """The variables, with their defaults, of the shipped compose files and of the user's own.

        Raises:
            ToolkitError: a file cannot be read.
        """
        named = self.project.env.get("COMPOSE_FILE", "").split(":")
        own = [name for name in named if name and (self.project.root / name).exists()]
        return variables_used(self.project, dict.fromkeys([*self.project.shipped_files, *own]))
