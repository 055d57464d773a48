"""Layer lists other than profiles: the core alone is a stack, a list without the monitoring layer is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import LazyCheckout
from toolkit.checkout.project import LOCAL, PULLED
from toolkit.validate.checkout import EVERY_GROUP
from toolkit.validate.findings import BrokenFileError

CORE = {"app", "worker", "db", "redis", "kafka", "rabbitmq"}


def test_core_alone_is_a_stack(clone: Path) -> None:
    checkout = LazyCheckout(clone)
    alone = checkout.configuration((checkout.base,), ())
    assert alone.services.keys() == CORE
    assert set(alone.config["networks"]) == {"app-network", "messaging-network", "egress-network"}


@pytest.mark.parametrize("groups", [(), EVERY_GROUP])
@pytest.mark.parametrize("images", [PULLED, LOCAL])
@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_list_without_the_monitoring_layer_is_refused(
    clone: Path, profile: str, images: str, groups: tuple[str, ...]
) -> None:
    checkout = LazyCheckout(clone)
    files = tuple(name for name in checkout.files(profile, images, ()) if "monitoring" not in name)
    with pytest.raises(BrokenFileError, match="has neither an image nor a build context specified"):
        checkout.configuration(files, groups)
