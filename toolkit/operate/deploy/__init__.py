"""Putting a new release of application and worker in force without a gap, or going back to the one before.

.env names the release in force (NETMON_RELEASE) and is changed last, in one step: until then every command here works
with the new settings in its environment. So whatever ends a deploy, the release in force is the one that .env names,
and to finish and to undo are the same: to bring what runs in line with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolkit.checkout.project import Project
from toolkit.checks import doctor, preflight
from toolkit.checks.smoke import Plan, smoke
from toolkit.core import envfile, files
from toolkit.core.console import phase, say
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker, explain
from toolkit.engine.health import Verdict, container_states
from toolkit.engine.stack_http import get
from toolkit.engine.wait import expected_replicas
from toolkit.operate import rolling, silences
from toolkit.operate.deploy import journal as journals
from toolkit.operate.deploy import rehearsal, release
from toolkit.operate.deploy.journal import Journal
from toolkit.operate.deploy.release import APP, VARIABLE, WORKER, Release


def deploy(
    project: Project, docker: Docker, *, timeout: float, name: str | None = None, image: str | None = None
) -> None:
    """Provide the images, migrate, replace worker and application, prove it; on any failure go back.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        timeout: Seconds for each new replica to become healthy.
        name: An earlier release whose images are still here; default: a new one of the present state of the checkout.
        image: The application's image from now on, where it is made elsewhere.

    Raises:
        ToolkitError: the release is not in force; what failed, where its log is, and that the one before is back.
    """
    with files.exclusive(project.lock_file, "deploy"):
        doctor.require_engine(docker)
        recover(project, docker, timeout)
        before = _running(docker)
        planned = Release.plan(project, docker, name, image)
        former = project.env.get(VARIABLE) or "dev"
        # From now on a release, which `up` builds no more: what is refused must not come into force that way.
        envfile.update(project.env_file, {VARIABLE: former})
        journal = Journal(planned.settings, release.tags(before))
        journal.write(project)
        try:
            _put_in_force(project, docker, planned, journal, timeout)
        except (ToolkitError, KeyboardInterrupt) as error:
            raise _rolled_back(project, docker, timeout, planned.name, former, error) from error
        _end(project, docker, journal)
        release.forget(project, docker, {planned.name, former})
        say(f"\nrelease {planned.name} is in force; back to the one before: invoke deploy --release={former}", "ok")
        preflight.announce(project, docker)


def recover(project: Project, docker: Docker, timeout: float) -> None:
    """Finish or undo what a deploy has begun that was cut off; nothing where none was.

    Where the services below are not up, only what Docker holds is put right: `up` starts the containers anew.

    Raises:
        ToolkitError: a container of the release in force cannot become healthy; the journal stays.
    """
    if (journal := journals.read(project)) is None:
        return
    done = journal.committed(project)
    with phase("recover", "a deploy that was cut off is " + ("finished" if done else "undone")):
        _bring_in_line(project, docker, journal, timeout)
        _end(project, docker, journal)


def _put_in_force(project: Project, docker: Docker, planned: Release, journal: Journal, timeout: float) -> None:
    candidate = docker.using(**planned.settings)
    with phase("images", f"release {planned.name}"):
        release.retain(docker, docker.project_name(), journal.former)
        planned.provide(project, candidate)
    if not planned.retained:
        with phase("migrate", "the schema of the database; migrations only add, so that both releases work on it"):
            _migrate(project, candidate)
    with phase("silence", "in Alertmanager, for the alerts that replacing containers raises"):
        silences.begin(project, candidate, _reason(planned.name), release.services(candidate))
    with phase("replace", "the containers of worker and application, one at a time"):
        for service in release.services(candidate):
            if service == APP:
                rehearsal.rehearse(project, candidate, planned.name, timeout)
            rolling.replace(project, candidate, service, timeout=timeout)
    with phase("verify", "the new release as its clients see it"):
        _require_version(project, candidate, planned.name)
        report = smoke(project, candidate, project.timeout("smoke"))
        report.show()
        report.require()
    envfile.update(project.env_file, planned.settings)


def _rolled_back(
    project: Project, docker: Docker, timeout: float, name: str, former: str, error: BaseException
) -> ToolkitError:
    """The release before, in force again; what to tell the user."""
    if not isinstance(error, ToolkitError):
        error = ToolkitError("stopped", code=130)
    say(f"\n{error.what}", "failed")
    journal = journals.read(project)
    if journal and journal.committed(project):
        return ToolkitError("stopped", f"release {name} is in force", "run invoke deploy or invoke up to clean up", 130)
    try:
        with phase("roll back", f"release {former}"):
            if journal:
                _bring_in_line(project, docker, journal, timeout)
                _end(project, docker, journal)
    except (ToolkitError, KeyboardInterrupt) as second:
        why = second.render() if isinstance(second, ToolkitError) else "stopped"
        fix = "run invoke deploy or invoke up: it goes on from here"
        return ToolkitError(f"release {name} failed, and going back to {former} did not end", why, fix, error.code)
    why = f"{error.what}: {error.why}" if error.why else error.what
    return ToolkitError(f"release {name} was refused, {former} is in force", why, error.fix, error.code)


def _bring_in_line(project: Project, docker: Docker, journal: Journal, timeout: float) -> None:
    """Let every container have the image of the release that .env names."""
    rehearsal.remove(docker, docker.project_name())
    docker("rm", "--force", _migration(docker.project_name()))
    order = release.services(docker)
    if not journal.committed(project):
        release.restore(docker, journal.former)
        order.reverse()
    for service in order:
        if _upheld(docker, service):
            rolling.replace(project, docker, service, timeout=timeout, keep=_of_the_right_image(docker, service))
        else:
            say(f"  {service}: left to invoke up, since it or what it needs is not running", "warning")


def _upheld(docker: Docker, service: str) -> bool:
    """Whether a container of the service runs, and those of all that it depends on are well."""
    config = docker.effective()
    found = container_states(docker, config["name"])
    well = {state.service for state in found if state.verdict is Verdict.OK}
    needed = {name for name in config["services"][service].get("depends_on") or {} if name in config["services"]}
    return needed <= well and any(state.service == service and state.status == "running" for state in found)


def _of_the_right_image(docker: Docker, service: str) -> set[str]:
    config = docker.effective()
    wanted = docker.image_id(config["services"][service]["image"])
    return {container["Id"] for container in docker.containers(config["name"]) if container["Image"] == wanted}


def _end(project: Project, docker: Docker, journal: Journal) -> None:
    """End the silence and close the journal."""
    silences.end(project, docker, _reason(journal.settings[VARIABLE]))
    journals.remove(project)


def _running(docker: Docker) -> list[dict[str, Any]]:
    """The containers of application and worker.

    Raises:
        ToolkitError: there are none, or none that runs: nothing is there to be replaced.
    """
    config = docker.effective()
    wanted = expected_replicas(config).keys() & {APP, WORKER}
    found = [
        container
        for container in docker.containers(config["name"])
        if container["Config"]["Labels"]["com.docker.compose.service"] in wanted
    ]
    if not any(container["State"]["Running"] for container in found):
        raise ToolkitError("there is nothing to replace", "neither application nor worker runs", "run: invoke up")
    return found


def _migrate(project: Project, docker: Docker) -> None:
    """Run the migrations of the new release in a container of their own.

    Raises:
        ToolkitError: one failed; nothing of it is left in the database.
    """
    config = docker.effective()
    if WORKER not in expected_replicas(config):
        say(f"  skipped: {WORKER} has no replicas, so the schema is not ours", "skipped")
        return
    container, log = _migration(config["name"]), project.lock_file.with_name("migrate.log")
    docker("rm", "--force", container)
    try:
        arguments = ("run", "--no-deps", "--no-TTY", "--name", container, WORKER, "migrate")
        result = docker.compose(*arguments, timeout=project.timeout("migration"))
        # Of what a container that ends at once prints, `docker compose run` sometimes sees nothing.
        said = docker("logs", container)
    finally:
        docker("rm", "--force", container)
    files.write_atomically(log, said.stdout + said.stderr, mode=0o600)
    if result.code:
        error = explain("migrate the database", replace(said, stderr=said.stderr or said.stdout or result.stderr))
        raise ToolkitError(error.what, error.why, f"correct the migration; its whole log is in {log}")


def _migration(project: str) -> str:
    """The name of the container that migrates; fixed, so that whoever cleans up finds it."""
    return f"{project}-migrate"


def _reason(name: str) -> str:
    return f"deploy of release {name}"


def _require_version(project: Project, docker: Docker, name: str) -> None:
    """Return if every container of ours says that it is of this release.

    Raises:
        ToolkitError: one does not.
    """
    project_name, plan = Plan.read(project, docker)
    ours = {WORKER} if plan.foreign_app() else {APP, WORKER}
    found = [state for state in container_states(docker, project_name) if state.service in ours]
    answers = get(docker, *(f"http://{state.container}:3000/api/health" for state in found))
    for state, answer in zip(found, answers, strict=True):
        told = answer.json()
        version = told.get("version") if isinstance(told, dict) else answer.problem
        if version != name:
            raise ToolkitError(f"{state.container} is not of release {name}", f"it says: {version}")
