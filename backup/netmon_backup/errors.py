"""The error of every expected failure."""

from __future__ import annotations


class BackupError(Exception):
    """A failure that the operator can act on: what failed, why, and the fix."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        shown = f"{self.what}: {self.why}" if self.why else self.what
        return f"{shown}\n  fix: {self.fix}" if self.fix else shown

    @property
    def line(self) -> str:
        """The error as one line, for logs."""
        return " ".join(str(self).split())


class DamagedError(BackupError):
    """A stored backup is incomplete or does not match its checksums; an older one may be intact."""


class GoneError(BackupError):
    """A snapshot was removed since the repository was listed, for instance because a newer one has its content."""


class FullBackupRequiredError(BackupError):
    """An incremental backup is not possible, for instance because a WAL summary is missing."""


class BusyError(BackupError):
    """Another backup or restore is in progress."""


class UnavailableError(BackupError):
    """The database or the target does not answer; a retry may succeed."""
