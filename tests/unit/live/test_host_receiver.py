"""The receiver of notifications: arrival times, channels, and the alerts that are active."""

from __future__ import annotations

from typing import Any

from tests.live.host_receiver import HostReceiver


def notification(arrived: float, *alerts: tuple[str, str, str], path: str = HostReceiver.WEBHOOK) -> dict[str, Any]:
    """A notification as it is stored: alerts by name, service and status."""
    found = [
        {"labels": {"alertname": name, "service": service}, "annotations": {}, "status": status}
        for name, service, status in alerts
    ]
    return {"arrived": arrived, "path": path, "alerts": found}


def test_alerts_have_the_time_of_their_arrival() -> None:
    receiver = HostReceiver(1, [
        notification(10, ("RedisDown", "redis", "firing")),
        notification(20, ("KafkaDown", "kafka", "firing"), ("RedisDown", "redis", "resolved")),
        notification(30, ("Watchdog", "prometheus", "firing"), path=HostReceiver.SWITCH),
    ])  # fmt: skip
    assert [(each.at, each.key, each.status) for each in receiver.received(since=15)] == [
        (20, ("KafkaDown", "kafka"), "firing"),
        (20, ("RedisDown", "redis"), "resolved"),
    ]
    assert [each.at for each in receiver.received(path=HostReceiver.SWITCH)] == [30]


def test_an_alert_is_active_until_it_is_resolved() -> None:
    receiver = HostReceiver(1, [notification(10, ("RedisDown", "redis", "firing"), ("KafkaDown", "kafka", "firing"))])
    assert receiver.active() == {("RedisDown", "redis"), ("KafkaDown", "kafka")}
    receiver.notifications.append(notification(20, ("RedisDown", "redis", "resolved")))
    assert receiver.active() == {("KafkaDown", "kafka")}


def test_nothing_is_active_without_a_notification() -> None:
    assert HostReceiver(1).active() == set()
