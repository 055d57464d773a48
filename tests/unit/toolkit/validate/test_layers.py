"""Lists of layers that are no profile: the core alone is a stack, what is left of monitoring is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import Unhurried
from toolkit.checkout.project import LOCAL, PULLED
from toolkit.validate.checkout import EVERY_GROUP
from toolkit.validate.findings import BrokenFileError

CORE = {"app", "worker", "db", "redis", "kafka", "rabbitmq"}


def test_the_core_alone_is_a_stack(clone: Path) -> None:
    checkout = Unhurried(clone)
    alone = checkout.configuration((checkout.base,), ())
    assert alone.services.keys() == CORE
    assert set(alone.config["networks"]) == {"app-network", "messaging-network", "egress-network"}


@pytest.mark.parametrize("groups", [(), EVERY_GROUP])
@pytest.mark.parametrize("images", [PULLED, LOCAL])
@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_a_list_from_before_the_monitoring_layer_starts_nothing(
    clone: Path, profile: str, images: str, groups: tuple[str, ...]
) -> None:
    checkout = Unhurried(clone)
    files = tuple(name for name in checkout.files(profile, images, ()) if "monitoring" not in name)
    with pytest.raises(BrokenFileError, match="has neither an image nor a build context specified"):
        checkout.configuration(files, groups)
