"""The restic repository: opened, claimed, written, read and pruned by restic alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from netmon_backup import commands
from netmon_backup.catalog import Catalog
from netmon_backup.commands import Result
from netmon_backup.errors import BackupError, DamagedError, GoneError, UnavailableError
from netmon_backup.settings import Settings

# Exit codes of restic.
INCOMPLETE, MISSING, LOCKED, WRONG_KEY, KILLED = 3, 10, 11, 12, 124

EXISTS = ("already initialized", "already exists")
"""Signs of a repository in the output of ``restic init``."""

FAILURES: Sequence[tuple[tuple[str, ...], str, str]] = (
    (("no space left on device", "quota exceeded"), "the target has no space left",
     "free space on the target, or reduce BACKUP_KEEP_DAYS in .env and run: invoke backup"),
    (("read-only file system",), "the target is read-only",
     "mount it writable, and check its disk (dmesg): Linux remounts a damaged file system read-only"),
    (("permission denied", "access denied", "accessdenied", "request signature we calculated", "access key id"),
     "the target refuses access",
     "a local folder: chown 999:999; a remote one: its credentials in secrets/backup/"),
    (("input/output error", "stale file handle", "transport endpoint is not connected"),
     "the target has vanished or its disk is damaged", "check the disk or the mount, then restart the service backup"),
    (("connection refused", "no such host", "i/o timeout", "network is unreachable", "could not resolve",
      "connection reset", "connection timed out", "broken pipe"), "the target does not answer",
     "check the address in BACKUP_TARGET and the network"),
    (("specified bucket does not exist",), "the bucket does not exist", "correct BACKUP_TARGET, or restore the bucket"),
    (("host key verification failed",), "the host key of the target is unknown",
     "add it to secrets/backup/known_hosts"),
)  # fmt: skip
"""Signs in restic's output, the cause, and the fix."""


class ChangedError(BackupError):
    """A file changed or vanished while it was stored."""


@dataclass(frozen=True)
class Stored:
    """A new snapshot: its id and the bytes that it added to the repository."""

    snapshot: str
    added: int


@dataclass(frozen=True)
class Repository:
    """The repository of the settings. ``owner`` is the id of this host's volume."""

    settings: Settings
    owner: str

    def exists(self) -> bool:
        """Whether the target has a repository that the key opens.

        Raises:
            BackupError: the key is missing or wrong, or the target cannot be read.
        """
        result = self._restic("cat", "config", timeout=60)
        if result.code == MISSING:
            return False
        self._check(result, "open the repository")
        return True

    def ensure(self) -> None:
        """Create the repository, with its bucket or folder, unless there is one.

        Raises:
            BackupError: the target has other files, refuses access, or cannot be written.
        """
        if not self.settings.local:
            # Which reports at once what a server answers; other commands of restic retry it for minutes.
            result = self._restic("init", timeout=120)
            if result.code and not any(sign in _text(result) for sign in EXISTS):
                self._check(result, "create the repository")
        elif not self.exists():
            self._require_empty(Path(self.settings.repository))
            self._check(self._restic("init", timeout=120), "create the repository")

    def _require_empty(self, folder: Path) -> None:
        try:
            present = sorted(each.name for each in folder.iterdir() if each.name != "lost+found")
        except OSError as error:
            raise self._failure("read the target", error.strerror or str(error)) from error
        if present:
            raise BackupError(
                f"cannot create a repository in {self.settings.target}",
                f"the folder is not empty ({', '.join(present[:3])})",
                "use an empty folder",
            )

    def catalog(self) -> Catalog:
        """What the repository contains.

        Raises:
            BackupError: it cannot be opened.
        """
        result = self._restic("snapshots", "--json", "--no-lock", timeout=120)
        return Catalog.parse(json.loads(self._check(result, "list the backups").stdout or "[]"))

    def require_own(self, catalog: Catalog) -> None:
        """Return if this host may write to the repository.

        Raises:
            BackupError: it belongs to another host, another project, or another program.
        """
        claim = catalog.claim
        fix = "use another BACKUP_TARGET for this host"
        where = f"the repository {self.settings.target}"
        if claim is None:
            what = f"{where} has {catalog.foreign} snapshots that are not of this platform"
            raise BackupError("refusing to write to the target", what, "use an empty folder or bucket")
        if claim.owner == self.owner:
            return
        if claim.project != self.settings.project:
            why = f"{where} is of the project {claim.project} on {claim.host}; this is {self.settings.project}"
            raise BackupError("refusing to write to the target", why, fix)
        raise BackupError(
            "refusing to write to the target",
            f"{where} is in use by {claim.host or 'another host'} since {claim.made:%Y-%m-%d %H:%M:%S %Z}",
            f"{fix}; if that host is gone: invoke restore --take-over",
        )

    def claim(self) -> None:
        """Record that this host writes to the repository; the owner before may not any more."""
        settings = self.settings
        tags = {"kind": "claim", "owner": self.owner, "host": settings.host, "project": settings.project,
                "made": datetime.now(UTC).isoformat()}  # fmt: skip
        self.store_text("claim", f"{settings.project} on {settings.host}\n".encode(), tags)

    def store(self, folder: Path, tags: Mapping[str, str]) -> Stored:
        """Store a folder. The snapshot exists only if every file was read and stored.

        Raises:
            BackupError: a file or the target failed; there is no snapshot.
        """
        # Relative, so that the snapshot has the content of the folder at its top.
        result = self._restic("backup", ".", "--json", "--retry-lock=10m", "--no-scan", *self._labels(tags), cwd=folder)
        stored = self._stored(result, f"store {folder.name}")
        if result.code == INCOMPLETE:
            # restic has written a snapshot without the files that it could not read.
            self.forget([stored.snapshot])
            raise ChangedError(f"cannot store {folder.name}", _text(result), "run it again")
        return stored

    def store_text(self, name: str, content: bytes, tags: Mapping[str, str]) -> Stored:
        """Store bytes as a file of this name.

        Raises:
            BackupError: the target failed; there is no snapshot.
        """
        options = ("--stdin", f"--stdin-filename={name}", "--json", "--retry-lock=10m")
        result = self._restic("backup", *options, *self._labels(tags), stdin=content)
        return self._stored(result, f"store {name}")

    def fetch(self, snapshot: str, target: Path) -> None:
        """Restore the content of a snapshot into a folder; restic verifies it by its hashes.

        Raises:
            DamagedError: data is missing or damaged.
            BackupError: the target or the disk failed.
        """
        result = self._restic("restore", snapshot, f"--target={target}", "--no-lock", "--json")
        if result.code:
            failure = self._failure("restore from the repository", _text(result), code=result.code)
            if "failed to find snapshot" in result.stderr or "no matching ID found" in result.stderr:
                raise GoneError(f"snapshot {snapshot[:8]} is missing", "it was removed", "run it again")
            known = failure.fix or result.code in {MISSING, LOCKED, WRONG_KEY, KILLED}
            raise failure if known else DamagedError(f"snapshot {snapshot[:8]} is damaged", _text(result))

    def forget(self, snapshots: Sequence[str], *, prune: bool = False) -> None:
        """Remove snapshots, and with ``prune`` the data that only they used.

        Raises:
            BackupError: the target failed.
        """
        if snapshots:
            self._check(self._restic("forget", "--retry-lock=10m", *snapshots), "remove old backups")
        if prune:
            result = self._restic("prune", "--retry-lock=10m", "--max-unused=10%")
            self._check(result, "remove the data of old backups")

    def check(self, part: str = "") -> None:
        """Verify the structure of the repository, and with ``part`` (``5%``, ``1/7``, ``100%``) this share of its data.

        Raises:
            DamagedError: something is missing or damaged.
        """
        options = [f"--read-data-subset={part}"] if part else []
        result = self._restic("check", "--retry-lock=10m", *options)
        if result.code == 1:
            raise DamagedError("the repository is damaged", _text(result),
                               "docs/backup.md, \"A damaged repository\"")  # fmt: skip
        self._check(result, "check the repository")

    def unlock(self) -> None:
        """Remove the locks of programs that were killed."""
        self._restic("unlock", timeout=60)

    def _labels(self, tags: Mapping[str, str]) -> list[str]:
        return ["--host=netmon", *(f"--tag={name}={value}" for name, value in tags.items())]

    def _stored(self, result: Result, action: str) -> Stored:
        if result.code not in {0, INCOMPLETE}:
            self._check(result, action)
        for line in reversed(result.stdout.splitlines()):
            message = _parsed(line)
            if message.get("message_type") == "summary" and message.get("snapshot_id"):
                return Stored(str(message["snapshot_id"]), int(str(message.get("data_added_packed") or 0)))
        raise BackupError(f"cannot {action}", "restic reported no snapshot", "run it again")

    def _restic(
        self, *arguments: str, cwd: Path | None = None, stdin: bytes = b"", timeout: float | None = None
    ) -> Result:
        if not self.settings.key_file.exists():
            raise BackupError(
                f"the key of the repository is missing: {self.settings.key_file}",
                "secrets/backup/key does not exist",
                "restore your copy of the key; for a new repository run: invoke setup",
            )
        env = {
            "RESTIC_REPOSITORY": self.settings.repository,
            "RESTIC_PASSWORD_FILE": str(self.settings.key_file),
            "RESTIC_CACHE_DIR": str(self.settings.data / "cache"),
            "RESTIC_PROGRESS_FPS": "0.1",
            "AWS_SHARED_CREDENTIALS_FILE": str(self.settings.secrets / "s3_credentials"),
        }
        ssh = [
            "-o", f"sftp.args=-i {self.settings.secrets}/ssh_key -o BatchMode=yes -o ConnectTimeout=15 "
            f"-o ServerAliveInterval=15 -o UserKnownHostsFile={self.settings.secrets}/known_hosts",
        ]  # fmt: skip
        options = ssh if self.settings.repository.startswith("sftp:") else []
        return commands.run(["restic", *options, *arguments], env=env, cwd=cwd, stdin=stdin, timeout=timeout)

    def _check(self, result: Result, action: str) -> Result:
        if result.code == 0:
            return result
        raise self._failure(action, _text(result), code=result.code)

    def _failure(self, action: str, text: str, *, code: int = 1) -> BackupError:
        what = f"cannot {action} in {self.settings.target}"
        match code:
            case 10:
                return BackupError(
                    what,
                    "there is no repository",
                    "mount its disk, if it is not mounted, then restart the service backup",
                )
            case 11:
                return UnavailableError(what, "it is locked by another run", "run it again later")
            case 12:
                return BackupError(
                    what, "secrets/backup/key is not the key of this repository", "put your copy of its key there"
                )
        lowered = text.lower()
        for signs, why, fix in FAILURES:
            if any(sign in lowered for sign in signs):
                return UnavailableError(what, f"{why} ({text})", fix)
        if code == KILLED:
            return UnavailableError(what, f"the target does not answer ({text})", "check the target and the network")
        return BackupError(what, text)


def _text(result: Result) -> str:
    """The error of restic; with ``--json`` errors are objects, one per line."""
    found = []
    for line in (result.stderr or result.stdout).splitlines():
        message = _parsed(line)
        error = message.get("error")
        if isinstance(error, dict):
            found.append(str(error.get("message") or error))
        elif message.get("message"):
            found.append(str(message["message"]))
        elif line.strip() and not message:
            found.append(line.strip())
    return "; ".join(found[-3:])[:500] or f"exit code {result.code}"


def _parsed(line: str) -> dict[str, object]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
