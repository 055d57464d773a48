"""Deploys a new release of application and worker without downtime, and rolls back on failure.

.env names the live release (NETMON_RELEASE) and is changed last, atomically: until then every command here has the new
settings in its environment. So the live release is always the one in .env, however a deploy ends, and completing or
rolling back are the same: reconcile the containers with .env.
"""

from __future__ import annotations

from dataclasses import replace

from toolkit.checkout import setting_rules
from toolkit.checkout.project import Project
from toolkit.checks import doctor, preflight
from toolkit.checks.smoke import Plan, smoke
from toolkit.core import envfile, files
from toolkit.core.console import phase, say
from toolkit.core.errors import ToolkitError
from toolkit.engine import shapes
from toolkit.engine.compose import Docker, explain
from toolkit.engine.health import Verdict, container_states
from toolkit.engine.stack_http import get
from toolkit.engine.wait import expected_replicas
from toolkit.operate import previous, rolling, silences
from toolkit.operate.deploy import journal as journals
from toolkit.operate.deploy import rehearsal, release
from toolkit.operate.deploy.journal import Journal
from toolkit.operate.deploy.release import APP, VARIABLE, WORKER, Release


def deploy(
    project: Project, docker: Docker, *, timeout: float, name: str | None = None, image: str | None = None
) -> None:
    """Provide the images, migrate, replace worker and application, verify; roll back on any failure.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        timeout: Seconds for each new replica to become healthy.
        name: An earlier release whose images are retained; default: a new release of the current checkout.
        image: The application's new image, if it is built elsewhere.

    Raises:
        ToolkitError: the release is not live; the error has the failure, its log, and the release that is live.
    """
    with files.exclusive(project.lock_file, "deploy"):
        setting_rules.require(project)
        doctor.require_engine(docker)
        previous.require_own_stack(project, docker, settled=True)
        recover(project, docker, timeout)
        before = _running_containers(docker)
        planned = Release.plan(project, docker, name, image)
        former = project.env.get(VARIABLE) or "dev"
        # From now on a named release, which `up` never builds: a failed release must not become live that way.
        envfile.update(project.env_file, {VARIABLE: former})
        journal = Journal(planned.settings, release.tags(before))
        journal.write(project)
        try:
            _roll_out(project, docker, planned, journal, timeout)
        except (ToolkitError, KeyboardInterrupt) as error:
            raise _roll_back(project, docker, timeout, planned.name, former, error) from error
        _close(project, docker, journal)
        release.prune(project, docker, {planned.name, former})
        say(f"\nrelease {planned.name} is live; to roll back: invoke deploy --release={former}", "ok")
        preflight.announce(project, docker)


def recover(project: Project, docker: Docker, timeout: float) -> None:
    """Complete or roll back an interrupted deploy, if there is one.

    If a dependency is not running, the containers are left to `up`.

    Raises:
        ToolkitError: a container of the live release cannot become healthy; the journal is kept.
    """
    if (journal := journals.read(project)) is None:
        return
    outcome = "completed" if journal.committed(project) else "rolled back"
    with phase("recover", f"an interrupted deploy is {outcome}"):
        _reconcile(project, docker, journal, timeout)
        _close(project, docker, journal)


def _roll_out(project: Project, docker: Docker, planned: Release, journal: Journal, timeout: float) -> None:
    candidate = docker.using(**planned.settings)
    with phase("images", f"release {planned.name}"):
        release.retain(docker, docker.project_name(), journal.former)
        planned.provide(project, candidate)
    if not planned.retained:
        with phase("migrate", "the database schema; migrations are additive, so both releases work with it"):
            _migrate(project, candidate)
    with phase("silence", "in Alertmanager, for the alerts that replacing containers triggers"):
        silences.begin(project, candidate, _reason(planned.name), release.services(candidate))
    with phase("replace", "the containers of worker and application, one at a time"):
        for service in release.services(candidate):
            if service == APP:
                rehearsal.rehearse(project, candidate, planned.name, timeout)
            rolling.replace(project, candidate, service, timeout=timeout)
    with phase("verify", "the new release, as its clients use it"):
        _require_version(project, candidate, planned.name)
        report = smoke(project, candidate, project.timeout("smoke"))
        report.show()
        report.require()
    envfile.update(project.env_file, planned.settings)


def _roll_back(
    project: Project, docker: Docker, timeout: float, name: str, former: str, error: BaseException
) -> ToolkitError:
    """Roll back to the former release; returns the error for the user."""
    if not isinstance(error, ToolkitError):
        error = ToolkitError("interrupted", code=130)
    say(f"\n{error.what}", "failed")
    journal = journals.read(project)
    if journal and journal.committed(project):
        return ToolkitError("interrupted", f"release {name} is live", "run invoke deploy or invoke up to clean up", 130)
    try:
        with phase("roll back", f"release {former}"):
            if journal:
                _reconcile(project, docker, journal, timeout)
                _close(project, docker, journal)
    except (ToolkitError, KeyboardInterrupt) as second:
        why = second.render() if isinstance(second, ToolkitError) else "interrupted"
        fix = "run invoke deploy or invoke up to continue"
        return ToolkitError(f"release {name} failed, and the rollback to {former} is incomplete", why, fix, error.code)
    why = f"{error.what}: {error.why}" if error.why else error.what
    return ToolkitError(f"release {name} failed, {former} is live", why, error.fix, error.code)


def _reconcile(project: Project, docker: Docker, journal: Journal, timeout: float) -> None:
    """Replace every container that does not have the image of the release in .env."""
    rehearsal.remove(docker, docker.project_name())
    docker("rm", "--force", _migration_container(docker.project_name()))
    order = release.services(docker)
    if not journal.committed(project):
        release.restore(docker, journal.former)
        order.reverse()
    for service in order:
        if _ready_to_replace(docker, service):
            rolling.replace(project, docker, service, timeout=timeout, keep=_up_to_date(docker, service))
        else:
            say(f"  {service}: left to invoke up, since it or a dependency is not running", "warning")


def _ready_to_replace(docker: Docker, service: str) -> bool:
    """Whether the service has a running container, and all its dependencies are healthy."""
    config = docker.effective()
    found = container_states(docker, config["name"])
    healthy = {state.service for state in found if state.verdict is Verdict.OK}
    needed = {name for name in config["services"][service].get("depends_on") or {} if name in config["services"]}
    return needed <= healthy and any(state.service == service and state.status == "running" for state in found)


def _up_to_date(docker: Docker, service: str) -> set[str]:
    config = docker.effective()
    image_id = docker.image_id(config["services"][service]["image"])
    return {container["Id"] for container in docker.containers(config["name"]) if container["Image"] == image_id}


def _close(project: Project, docker: Docker, journal: Journal) -> None:
    """End the silence and close the journal."""
    silences.end(project, docker, _reason(journal.settings[VARIABLE]))
    journals.remove(project)


def _running_containers(docker: Docker) -> list[shapes.Container]:
    """The containers of application and worker.

    Raises:
        ToolkitError: none of them is running.
    """
    config = docker.effective()
    expected = expected_replicas(config).keys() & {APP, WORKER}
    found = [
        container
        for container in docker.containers(config["name"])
        if container["Config"]["Labels"]["com.docker.compose.service"] in expected
    ]
    if not any(container["State"]["Running"] for container in found):
        raise ToolkitError("nothing to replace", "neither app nor worker is running", "run: invoke up")
    return found


def _migrate(project: Project, docker: Docker) -> None:
    """Run the migrations of the new release in a container of their own.

    Raises:
        ToolkitError: a migration failed and was rolled back.
    """
    config = docker.effective()
    if WORKER not in expected_replicas(config):
        say(f"  skipped: {WORKER} has no replicas, so the schema belongs to another application", "skipped")
        return
    container, log = _migration_container(config["name"]), project.lock_file.with_name("migrate.log")
    docker("rm", "--force", container)
    try:
        arguments = ("run", "--no-deps", "--no-TTY", "--name", container, WORKER, "migrate")
        result = docker.compose(*arguments, timeout=project.timeout("migration"))
        # `docker compose run` sometimes loses the output of a short-lived container.
        log_output = docker("logs", container)
    finally:
        docker("rm", "--force", container)
    files.write_atomically(log, log_output.stdout + log_output.stderr, mode=0o600)
    if result.code:
        error = explain(
            "migrate the database", replace(log_output, stderr=log_output.stderr or log_output.stdout or result.stderr)
        )
        raise ToolkitError(error.what, error.why, f"fix the migration; full log: {log}")


def _migration_container(project: str) -> str:
    """The fixed name of the migration container, by which later runs find it."""
    return f"{project}-migrate"


def _reason(name: str) -> str:
    return f"deploy of release {name}"


def _require_version(project: Project, docker: Docker, name: str) -> None:
    """Return if every container of application and worker reports this release.

    Raises:
        ToolkitError: a container reports another version, or none.
    """
    project_name, plan = Plan.read(project, docker)
    own_services = {WORKER} if plan.uses_external_app() else {APP, WORKER}
    found = [state for state in container_states(docker, project_name) if state.service in own_services]
    answers = get(docker, *(f"http://{state.container}:3000/api/health" for state in found))
    for state, answer in zip(found, answers, strict=True):
        health = answer.json()
        version = health.get("version") if isinstance(health, dict) else answer.problem
        if version != name:
            raise ToolkitError(f"{state.container} is not of release {name}", f"reported version: {version}")
