"""When old results are deleted and old rollups merged; the statements are those of live tests."""

import pytest

from netmon import rollups
from netmon.database import Database
from netmon.retention import Retention

pytestmark = pytest.mark.anyio


class Clock:
    """A clock, and the times at which something was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int = 0) -> None:
        self.now = 1000.0
        self.deleted: list[float] = []
        self.merged: list[float] = []
        self.failures = failures
        self.bounded = 0
        monkeypatch.setattr("netmon.retention.time.monotonic", lambda: self.now)
        monkeypatch.setattr("netmon.retention.asyncio.sleep", self.sleep)
        monkeypatch.setattr(Retention, "delete", self.delete)
        monkeypatch.setattr(rollups, "merge", self.merge)
        monkeypatch.setattr(Retention, "bound", self.bound)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 1000 + 3 * 3600 + 60:
            raise InterruptedError

    async def delete(self) -> int:
        self.deleted.append(self.now)
        return 0

    async def bound(self) -> int:
        self.bounded += 1
        return 0

    async def merge(self, _database: Database) -> int:
        if self.failures:
            self.failures -= 1
            raise TimeoutError
        self.merged.append(self.now)
        return 1


@pytest.mark.parametrize("failures", [0, 2])
async def test_rollups_are_merged_every_hour_and_again_soon_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    clock = Clock(monkeypatch, failures)
    with pytest.raises(InterruptedError):
        await Retention(Database("postgresql://nowhere/", "test"), 14).run()
    assert clock.bounded == len(clock.merged)
    assert len(clock.deleted) == 3 * 12 + 1 + failures
    assert clock.merged[0] - 1000 < (30 if failures else 1)
    gaps = [later - earlier for earlier, later in zip(clock.merged, clock.merged[1:], strict=False)]
    assert len(gaps) >= 2
    assert all(3600 <= gap < 3900 for gap in gaps), gaps
