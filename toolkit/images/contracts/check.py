"""Check the images of a set against their contracts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Columns, Finding, Outcome, Report, one_line
from toolkit.engine.compose import Docker
from toolkit.images.contracts.contract import Contract, load
from toolkit.images.contracts.inspection import Image, Verdict, inspect
from toolkit.images.sets import missing_names


@dataclass(frozen=True)
class Result:
    """The verdicts on an image, one for each clause of its contract; None if the image does not exist on this host."""

    image: Image
    verdicts: tuple[Verdict, ...] | None

    @property
    def problems(self) -> list[Verdict]:
        """The verdicts on violated clauses."""
        return [verdict for verdict in self.verdicts or () if verdict.problem]

    @property
    def findings(self) -> list[Finding]:
        """One finding for each violated clause; without any, one for the image."""
        if self.verdicts is None:
            return [Finding(self.image.name, Outcome.SKIPPED, "not on this host")]
        failed = [Finding.of(self.image.name, verdict.what, verdict.problem) for verdict in self.problems]
        return failed or [Finding(self.image.name, Outcome.OK, f"conforms in all {len(self.verdicts)} clauses")]

    @property
    def outcome(self) -> Outcome:
        """How the check of the image ended."""
        if self.verdicts is None:
            return Outcome.SKIPPED
        return Outcome.FAILED if self.problems else Outcome.OK


def images(project: Project, docker: Docker, chosen: str) -> list[Image]:
    """The images of a set with a contract, in all profiles and groups, without duplicates.

    Raises:
        ToolkitError: the compose files or a contract cannot be read.
    """
    found: dict[str, Image] = {}
    for profile in project.data["profiles"]:
        files = os.pathsep.join(project.compose_files(profile, chosen, project.groups))
        services = docker.effective(every_group=True, env={"COMPOSE_FILE": files})["services"]
        for contract in load(project.root):
            for name in contract.services:
                service = services.get(name)
                if service is None or project.data["absent"] in service.get("profiles", ()):
                    continue
                image = _image(contract, service.get("build", {}).get("args", {}), service["image"])
                if image:
                    user = contract.config.user if contract.builder else str(service["user"])
                    applied = contract.of_local_image() if chosen == LOCAL else contract
                    found.setdefault(image, Image(image, user, applied))
    return [found[name] for name in sorted(found)]


def _image(contract: Contract, arguments: Mapping[str, str | None], image: str) -> str:
    """The image to which a contract applies; empty if this set has none."""
    if not contract.base:
        return image
    return arguments.get(contract.base) or ("" if contract.builder else image)


def check(docker: Docker, wanted: Sequence[Image]) -> list[Result]:
    """Inspect every existing image, several in parallel.

    Raises:
        ToolkitError: the engine does not answer.
    """
    missing = set(missing_names(docker, [image.name for image in wanted]))

    def check_image(image: Image) -> Result:
        return Result(image, None if image.name in missing else tuple(inspect(docker, image)))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(check_image, wanted))


COLUMNS: Columns = {
    "": lambda finding: finding.outcome,
    "image": lambda finding: finding.check,
    "clause": lambda finding: finding.subject,
    "finding": one_line,
}


def check_published(project: Project, docker: Docker) -> Report:
    """Check every published image on this host against its contract.

    Raises:
        ToolkitError: this host has none of the images, or a file cannot be read.
    """
    results = check(docker, images(project, docker, PULLED))
    if all(result.outcome is Outcome.SKIPPED for result in results):
        raise ToolkitError(
            "no contract was checked", "none of the published images is on this host", "run: invoke images.pull"
        )
    names = ", ".join(result.image.contract.file for result in results if result.problems)
    fix = f"compare the upstream files with {names}, then update the contracts and the services"
    return Report("contract checks", [found for each in results for found in each.findings], COLUMNS, fix)
