"""Failures of restic have a cause and a fix; a repository of another host is not touched."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netmon_backup import backups, state
from netmon_backup.catalog import Catalog, Claim
from netmon_backup.commands import Result
from netmon_backup.errors import BackupError, DamagedError, GoneError, UnavailableError
from netmon_backup.repository import ChangedError, Repository
from netmon_backup.settings import Settings
from tests.unit.backup.conftest import Programs, snapshot, summary

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def repository(settings: Settings) -> Repository:
    return Repository(settings, state.load(settings.data).owner)


def claim(owner: str, project: str = "network-monitor", host: str = "two") -> dict[str, object]:
    return snapshot("c1", kind="claim", owner=owner, project=project, host=host, made=NOW.isoformat())


@pytest.mark.parametrize(
    ("code", "stderr", "message", "fix"),
    [
        (12, "Fatal: wrong password or no key found", "is not the key of this repository", "your copy of its key"),
        (10, "Fatal: repository does not exist", "there is no repository", "mount its disk"),
        (11, "unable to create lock", "locked by another run", "later"),
        (124, "no answer within 60 s", "does not answer", "check the target"),
        (
            124,
            "Stat(<config/>) returned error, retrying after 46 s: The request signature we calculated does not match",
            "refuses access",
            "credentials in secrets/backup/",
        ),
        (124, "retrying after 5 s: The AWS Access Key Id you provided does not exist", "refuses access", "credentials"),
        (124, "retrying after 5 s: lookup storage on 127.0.0.11:53: no such host", "does not answer", "BACKUP_TARGET"),
        (1, "Fatal: write /target/data: no space left on device", "no space left", "BACKUP_KEEP_DAYS"),
        (1, "open /target/locks: read-only file system", "is read-only", "mount it writable"),
        (1, "open /target/locks: permission denied", "refuses access", "chown 999:999"),
        (1, "read /target/config: input/output error", "has vanished", "check the disk"),
        (1, "dial tcp 10.0.0.1:443: connect: connection refused", "does not answer", "BACKUP_TARGET"),
        (1, "Host key verification failed.", "host key of the target is unknown", "known_hosts"),
        (124, "retrying after 5 s: Stat: The specified bucket does not exist.", "the bucket does not exist", "restore"),
        (1, "something else", "something else", ""),
    ],
)
def test_failures_name_the_cause_and_the_fix(
    repository: Repository, programs: Programs, code: int, stderr: str, message: str, fix: str
) -> None:
    programs.on("restic", code=code, stderr=stderr)
    with pytest.raises(BackupError, match=message) as raised:
        repository.catalog()
    assert fix in raised.value.fix
    assert "/mnt/backup" in raised.value.what


def test_errors_in_json_are_read(repository: Repository, programs: Programs) -> None:
    programs.on("restore", code=1, stderr='{"message_type":"exit_error","code":1,"message":"Fatal: blob is damaged"}')
    with pytest.raises(DamagedError, match="Fatal: blob is damaged"):
        repository.fetch("abc", Path("/x"))


def test_a_full_disk_is_no_damage(repository: Repository, programs: Programs) -> None:
    programs.on("restore", code=1, stderr="write /restore/x: no space left on device")
    with pytest.raises(UnavailableError, match="no space left"):
        repository.fetch("abc", Path("/x"))


def test_a_removed_snapshot_is_no_damage(repository: Repository, programs: Programs) -> None:
    programs.on("restore", code=1, stderr="Fatal: failed to find snapshot: no such file")
    with pytest.raises(GoneError):
        repository.fetch("abc", Path("/x"))


def test_a_missing_key_is_an_error_before_anything_runs(
    settings: Settings, repository: Repository, programs: Programs
) -> None:
    settings.key_file.unlink()
    with pytest.raises(BackupError, match="key of the repository is missing"):
        repository.catalog()
    assert not programs.calls


def test_the_key_is_in_no_argument_and_no_environment(repository: Repository, programs: Programs) -> None:
    programs.on("snapshots", stdout=[])
    repository.catalog()
    [argv], [env] = programs.calls, programs.environments
    assert not any("a key" in word for word in (*argv, *env.values()))
    assert env["RESTIC_PASSWORD_FILE"].endswith("/key")


def test_sftp_uses_the_key_and_the_known_hosts_of_the_settings(settings: Settings, programs: Programs) -> None:
    programs.on("snapshots", stdout=[])
    Repository(replace(settings, target="sftp:a@b:/c"), "o").catalog()
    options = " ".join(programs.calls[0])
    assert "UserKnownHostsFile=" in options
    assert "BatchMode=yes" in options, "an unknown host key is a question, which is refused"
    assert "StrictHostKeyChecking" not in options
    assert programs.environments[0]["RESTIC_REPOSITORY"] == "sftp:a@b:/c"


def test_an_incomplete_snapshot_is_removed(settings: Settings, repository: Repository, programs: Programs) -> None:
    """Restic writes a snapshot without the files that it could not read: nothing may take it for a backup."""
    programs.on("backup", code=3, stdout=summary("half"), stderr="error: open x: permission denied")
    with pytest.raises(ChangedError):
        repository.store(settings.data, {"kind": "full"})
    [forget] = programs.ran("forget")
    assert "half" in forget


def test_a_snapshot_without_a_summary_is_a_failure(
    settings: Settings, repository: Repository, programs: Programs
) -> None:
    programs.on("backup", stdout='{"message_type":"status"}')
    with pytest.raises(BackupError, match="no snapshot"):
        repository.store(settings.data, {"kind": "full"})


def test_an_empty_target_is_initialised_and_claimed_once(
    settings: Settings, repository: Repository, programs: Programs
) -> None:
    listed: list[object] = []

    programs.on("cat", code=10)

    def store(_: list[str]) -> Result:
        listed.append(claim(repository.owner))
        return Result(0, summary("c1"), "")

    programs.answer("snapshots", by=lambda _: Result(0, json.dumps(listed), ""))
    programs.answer("backup", by=store)
    catalog = backups.open_repository(settings, repository)
    assert catalog.claim is not None
    assert catalog.claim.owner == repository.owner
    assert len(programs.ran("init")) == len(programs.ran("backup")) == 1
    assert state.load(settings.data).repository
    programs.calls.clear()
    backups.open_repository(settings, repository)
    assert not programs.ran("init")


@pytest.mark.parametrize("target", ["s3:http://h/b", "sftp:a@b:/c"])
def test_a_remote_repository_is_created_unless_there_is_one(
    settings: Settings, programs: Programs, target: str
) -> None:
    """By the command that creates the bucket as well, and reports a refusal at once."""
    there = replace(settings, target=target)
    repository = Repository(there, state.load(settings.data).owner)
    programs.on("snapshots", stdout=[claim(repository.owner)])
    for code, stderr in ((0, ""), (1, "Fatal: create key in repository failed: repository master key and config "
                                   "already initialized"), (1, "Fatal: config file already exists")):  # fmt: skip
        programs.on("init", code=code, stderr=stderr)
        state.update(settings.data, repository=False)
        backups.open_repository(there, repository)
        assert not programs.ran("cat")
    programs.on("init", code=1, stderr="client.BucketExists: The request signature we calculated does not match")
    state.update(settings.data, repository=False)
    with pytest.raises(BackupError, match="refuses access"):
        backups.open_repository(there, repository)
    assert not state.load(settings.data).repository


def test_a_repository_that_vanished_is_not_created_again(
    settings: Settings, repository: Repository, programs: Programs
) -> None:
    """Its disk may not be mounted: a new repository on the disk below would look like a success."""
    state.update(settings.data, repository=True)
    programs.on("snapshots", code=10)
    with pytest.raises(BackupError, match="there is no repository"):
        backups.open_repository(settings, repository)
    assert not programs.ran("init")


def test_a_folder_with_other_files_is_not_used(settings: Settings, repository: Repository, programs: Programs) -> None:
    programs.on("cat", code=10)
    Path(settings.repository, "holiday.jpg").touch()
    with pytest.raises(BackupError, match="not empty"):
        backups.open_repository(settings, repository)
    assert not programs.ran("init")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([claim("another")], "in use by two"),
        ([claim("another", project="other")], "is of the project other on two"),
        ([{"id": "x", "tags": ["photos"]}], "not of this platform"),
    ],
)
def test_the_repository_of_another_is_only_read(
    settings: Settings, repository: Repository, programs: Programs, found: list[object], message: str
) -> None:
    programs.on("snapshots", stdout=found)
    with pytest.raises(BackupError, match=message):
        backups.open_repository(settings, repository)
    assert not programs.ran("backup")
    assert not programs.ran("forget")
    assert not programs.ran("init")
    assert not state.load(settings.data).repository


def test_the_newest_claim_counts(repository: Repository) -> None:
    mine = Claim("1", repository.owner, "one", "network-monitor", NOW)
    taken = Claim("2", "another", "two", "network-monitor", NOW.replace(hour=1))
    repository.require_own(Catalog(claims=(mine,)))
    with pytest.raises(BackupError, match="in use by two"):
        repository.require_own(Catalog(claims=(mine, taken)))
