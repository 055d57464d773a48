"""Whether the last upgrade is complete and final."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checkout.upgrade_record import Record
from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome

CHECK = "upgrade"


def upgrade(subject: Subject) -> Iterator[Finding]:
    """The last upgrade has ended, and the brokers write the formats of their version; as recorded."""
    known = Record.load(subject.project)
    if known.upgrade and not known.upgrade.complete:
        fix = "to continue: invoke upgrade; to go back: invoke upgrade --back"
        yield Finding(CHECK, Outcome.WARNING, "the upgrade is unfinished", fix)
    elif known.unfinalized:
        what = f"the upgrade is not finalized: {', '.join(known.unfinalized)}"
        fix = "once this release is verified: invoke upgrade --finalize, which has no way back"
        yield Finding(CHECK, Outcome.WARNING, what, fix)
