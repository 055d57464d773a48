"""PostgreSQL's entry point: which passwords reach the environment of the image's scripts and of the server."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
INSIDE = "/opt/netmon"
PASSWORD = "password-of-the-superuser"
"""A recognisable value."""

STUB = """\
#!/bin/sh
env >"{record}"
if [ "$0" = "{folder}/docker-ensure-initdb.sh" ]; then
  {read} >"{record}.read"
  mkdir -p "$PGDATA"
  [ -e "$PGDATA/pg_hba.conf" ] || printf 'local all all trust\\nhost all all all scram-sha-256' >"$PGDATA/pg_hba.conf"
fi
exit {code}
"""


@dataclass
class Image:
    """The container's scripts, with stubs of the image's scripts, which record their environment."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def access(self) -> Path:
        """The rules of access of the database, which its initialisation writes."""
        return Path(self.environment.get("PGDATA", self.folder)) / "pg_hba.conf"

    def start(self, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the entry script; the stubs exit with ``code``."""
        for script in ("postgres-entrypoint.sh", "credential.sh"):
            text = (SCRIPTS / "container" / script).read_text().replace(INSIDE, str(self.folder))
            (self.folder / script).write_text(text)
        found = re.search(r"admin_password `(.*)`", (SCRIPTS / "init-db.sql").read_text())
        assert found, "init-db.sql does not read the superuser's password"
        read = found[1].replace(INSIDE, str(self.folder))
        for name in ("docker-ensure-initdb.sh", "docker-entrypoint.sh"):
            stub = self.folder / name
            stub.write_text(STUB.format(record=self.folder / f"{name}.env", folder=self.folder, read=read, code=code))
            stub.chmod(0o755)
        argv = ["sh", str(self.folder / "postgres-entrypoint.sh"), "postgres"]
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(argv, env={"PATH": path, "PGDATA": str(self.folder), **self.environment},
                              capture_output=True, text=True, check=False)  # fmt: skip

    def environment_of(self, name: str) -> dict[str, str]:
        """The environment that a script of the image was started with."""
        lines = (self.folder / f"{name}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def set_by_sql(self) -> str:
        """The superuser's password as init-db.sql reads it."""
        return (self.folder / "docker-ensure-initdb.sh.env.read").read_text()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """A container without credentials."""
    return Image(tmp_path)


def provide_files(image: Image) -> None:
    """Provide every credential as a file, like the secrets layer."""
    for name in ("POSTGRES", "POSTGRES_APP", "POSTGRES_MONITORING", "POSTGRES_BACKUP"):
        for what in ("USER", "PASSWORD"):
            file = image.folder / f"{name}_{what}".lower()
            file.write_text(PASSWORD if name == "POSTGRES" else f"{name}-{what}")
            image.environment[f"{name}_{what}_FILE"] = str(file)
    del image.environment["POSTGRES_USER_FILE"], image.environment["POSTGRES_BACKUP_USER_FILE"]
    image.environment["POSTGRES_USER"] = "postgres"


def test_a_password_in_a_file_is_in_no_environment(image: Image) -> None:
    provide_files(image)
    done = image.start()
    assert (done.returncode, done.stderr) == (0, "")
    initialising, serving = map(image.environment_of, ("docker-ensure-initdb.sh", "docker-entrypoint.sh"))
    assert PASSWORD not in {*initialising.values(), *serving.values()}
    assert len(initialising["POSTGRES_PASSWORD"]) == 32, "initdb gets a temporary password"
    assert "POSTGRES_PASSWORD_FILE" not in initialising, "the image refuses a variable and a file together"
    assert image.set_by_sql() == PASSWORD
    assert not {name for name in serving if "PASSWORD" in name and not name.endswith("_FILE")}
    assert not {"POSTGRES_PASSWORD_FILE", "SUPERUSER_CREDENTIAL"} & serving.keys()


def test_every_start_generates_a_temporary_password(image: Image) -> None:
    provide_files(image)
    passwords = set()
    for _ in range(2):
        image.start()
        passwords.add(image.environment_of("docker-ensure-initdb.sh")["POSTGRES_PASSWORD"])
    assert len(passwords) == 2


def test_a_password_in_a_variable_is_set_for_the_superuser(image: Image) -> None:
    names = ("POSTGRES_APP_USER", "POSTGRES_APP_PASSWORD", "POSTGRES_MONITORING_USER", "POSTGRES_MONITORING_PASSWORD",
             "POSTGRES_BACKUP_PASSWORD")  # fmt: skip
    image.environment |= {"POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": PASSWORD, **dict.fromkeys(names, "value")}
    assert image.start().returncode == 0
    assert image.set_by_sql() == PASSWORD
    assert image.environment_of("docker-ensure-initdb.sh")["POSTGRES_PASSWORD"] == PASSWORD
    assert "POSTGRES_PASSWORD" not in image.environment_of("docker-entrypoint.sh")


def test_an_empty_password_fails_before_anything_is_written(image: Image) -> None:
    provide_files(image)
    (image.folder / "postgres_password").write_text("")
    done = image.start()
    assert done.returncode == 78
    assert "POSTGRES_PASSWORD is empty" in done.stderr
    assert not list(image.folder.glob("*.env"))


@pytest.mark.parametrize("file", ["PG_VERSION", "data/PG_VERSION", "17/docker/PG_VERSION", "17/main/PG_VERSION"])
def test_no_database_is_initialised_beside_data_of_another_version(image: Image, file: str) -> None:
    provide_files(image)
    volume = image.folder / "volume"
    image.environment["PGDATA"] = str(volume / "18/docker")
    (volume / file).parent.mkdir(parents=True)
    (volume / file).write_text("17\n")
    done = image.start()
    assert done.returncode == 78
    assert f"error: {volume / file} is of PostgreSQL 17, whose data would be ignored" in done.stderr
    assert not list(image.folder.glob("*.env"))
    (volume / "18/docker").mkdir(parents=True)
    assert image.start().returncode == 78, "an interrupted first start is no database"
    (volume / "18/docker/PG_VERSION").write_text("18\n")
    assert image.start().returncode == 0


def test_an_empty_volume_is_initialised(image: Image) -> None:
    provide_files(image)
    image.environment["PGDATA"] = str(image.folder / "volume/18/docker")
    assert (image.start().returncode, image.start().stderr) == (0, "")


def test_a_failed_initialisation_starts_no_server(image: Image) -> None:
    provide_files(image)
    assert image.start(code=3).returncode == 3
    assert not (image.folder / "docker-entrypoint.sh.env").exists()


def test_replication_is_permitted_to_the_role_of_backups_alone_and_listed_once(image: Image) -> None:
    """Also on a volume that is older than the role."""
    provide_files(image)
    for _ in range(3):
        assert image.start().returncode == 0
    lines = image.access.read_text().splitlines()
    assert [line for line in lines if "replication" in line] == ["host replication backup all scram-sha-256"]
    assert lines[:2] == ["local all all trust", "host all all all scram-sha-256"]
